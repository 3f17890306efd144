//! `GET /health`: the process is running. `GET /health/ready`: it can serve, since its database answers.

use super::Api;
use api::{Request, Response, reply};
use contract::Problem;
use kit::database_problem;
use serde_json::json;

/// `GET /health`
pub async fn alive(_: Api, _: Request) -> Result<Response, Problem> {
    Ok(reply::ok(&json!({"status": "ok", "service": "crm-receiver"})))
}

/// `GET /health/ready`: 503 while the database does not answer.
pub async fn ready(api: Api, _: Request) -> Result<Response, Problem> {
    api.store.ping().await.map_err(database_problem)?;
    Ok(reply::ok(&json!({"status": "ready", "database": "ok"})))
}
