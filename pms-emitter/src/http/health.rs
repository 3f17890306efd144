//! `GET /health` and `GET /health/ready`: for the orchestrator that keeps the process running.

use super::Api;
use api::{Request, Response, reply};
use contract::Problem;
use kit::database_problem;
use serde_json::json;

/// `GET /health`: the process is alive. It asks nothing else, so that a lost database does not get it killed.
pub async fn alive(_api: Api, _request: Request) -> Result<Response, Problem> {
    Ok(reply::ok(&json!({"status": "ok"})))
}

/// `GET /health/ready`: it can serve, because its database answers; 503 otherwise.
pub async fn ready(api: Api, _request: Request) -> Result<Response, Problem> {
    api.desk.store.db().ping().await.map_err(database_problem)?;
    Ok(reply::ok(&json!({"status": "ready"})))
}
