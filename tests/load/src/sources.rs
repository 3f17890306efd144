//! Sources beside `pms`, made the way an operator makes them: through the API.

use super::service::Service;
use anyhow::{Result, ensure};
use harness::client::{Answer, Client};
use harness::config::fresh_secret;
use http::StatusCode;
use serde_json::json;

/// Makes sources, each with a secret of its own, until there are so many with `pms`.
///
/// # Errors
/// When the receiver refuses one.
pub async fn fill(receiver: &Service, sources: usize) -> Result<()> {
    let client = receiver.client();
    for number in 1..sources {
        make(&client, &format!("source-{number}"), &fresh_secret()).await?;
    }
    Ok(())
}

/// Makes a source that signs with this secret, and whose events are folded.
///
/// # Errors
/// When the receiver refuses it.
pub async fn make(client: &Client, id: &str, secret: &str) -> Result<()> {
    let source = json!({"id": id, "name": id, "folds": true, "property_ids": "*"});
    let made = client.post("/sources", &source, &format!("make-{id}")).await?;
    expect(&made, StatusCode::CREATED)?;
    let path = format!("/sources/{id}/rotate-secret");
    let secret = json!({"secret": secret});
    let rotated = client.post(&path, &secret, &format!("rotate-{id}")).await?;
    expect(&rotated, StatusCode::CREATED)
}

fn expect(answer: &Answer, status: StatusCode) -> Result<()> {
    ensure!(
        answer.status == status,
        "a source is refused: {} {}",
        answer.status,
        answer.body
    );
    Ok(())
}
