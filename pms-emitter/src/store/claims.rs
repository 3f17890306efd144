//! Claiming deliveries: a committed compare-and-set of owner, lease and epoch, acted on only after its commit.
//!
//! A look, outside of any transaction, finds what is due; the claim takes of that whatever is still so under a fresh token,
//! and reads back what the token owns: the rows alone decide. `claim_rows` holds the statements.

use super::Store;
use super::claim_rows::{ids_due, look, owned_by, read_claims, read_target, take, target};
use contract::{
    UnixMillis,
    id::{EndpointId, IdempotencyKey},
};
use db::{DbError, Tx};
use std::time::Duration;

/// The most deliveries that one transaction claims or settles.
pub const BATCH_MAX: usize = 100;

/// What a dispatcher asks for.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Whose deliveries.
    pub endpoint: EndpointId,
    /// A fresh token: it is never used for another claim.
    pub token: String,
    /// The present instant.
    pub now: UnixMillis,
    /// How long the claim holds.
    pub lease: Duration,
    /// How many, at most [`BATCH_MAX`].
    pub limit: usize,
}

/// Where an endpoint's deliveries go at this moment: read in the claim's own transaction, so that nothing is sent to
/// an address that is no longer wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The URL.
    pub url: String,
    /// The endpoint's own retry schedule, as text.
    pub retry_schedule: Option<String>,
}

/// The answer to a [`ClaimRequest`].
#[derive(Clone, Debug)]
pub enum Claimed {
    /// These; none when nothing is due.
    Deliveries(Target, Vec<Claim>),
    /// The endpoint asked to be left alone until this instant.
    Paused(UnixMillis),
    /// The endpoint is not subscribed, or disabled.
    Inactive,
}

/// One delivery in hand, as it stood at the claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Which delivery, and the fence of everything that is written about it.
    pub delivery: DeliveryRef,
    /// Attempts that were settled before.
    pub attempts: u64,
    /// How many of them the schedule no longer counts.
    pub attempts_before: u64,
    /// The bytes to send; none when they were erased.
    pub body: Option<Vec<u8>>,
    /// The trace that the change belongs to.
    pub traceparent: Option<String>,
    /// What the audit entry says about the event.
    pub subject: Subject,
}

/// A delivery and the claim on it: the fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRef {
    /// The event, whose id is the idempotency key.
    pub event_id: IdempotencyKey,
    /// The token of the claim.
    pub owner: String,
    /// The number of the claim.
    pub epoch: i64,
}

/// What an event is about, for the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The property.
    pub property_id: Option<String>,
    /// The entity's kind.
    pub entity_kind: Option<String>,
    /// The entity.
    pub entity_id: Option<String>,
    /// Its version.
    pub entity_version: Option<i64>,
    /// What the event belongs to across both services.
    pub correlation_id: Option<String>,
}

impl Store {
    /// Claims what is due for an endpoint, oldest first.
    ///
    /// # Errors
    /// Those of the database. What an unknown commit may have claimed is looked up by its token.
    pub async fn claim(&self, request: ClaimRequest) -> Result<Claimed, DbError> {
        let asked = request.clone();
        let looked = self
            .db
            .read("look_for_due", move |tx| {
                let request = asked.clone();
                Box::pin(async move { due(tx, &request).await })
            })
            .await?;
        let ids = match looked {
            Ok((_, ids)) if !ids.is_empty() => ids,
            Ok((target, _)) => return Ok(Claimed::Deliveries(target, Vec::new())),
            Err(refused) => return Ok(refused),
        };
        let token = request.clone();
        self.db
            .transaction_or_find(
                "claim_deliveries",
                move |tx| {
                    let (request, ids) = (request.clone(), ids.clone());
                    Box::pin(async move { claim(tx, &request, &ids).await })
                },
                move |tx| {
                    let request = token.clone();
                    Box::pin(async move { find_claimed(tx, &request).await })
                },
            )
            .await
    }
}

/// The ids of what may be claimed, and where it goes; or why nothing may be.
async fn due(tx: &mut Tx, request: &ClaimRequest) -> Result<Result<(Target, Vec<String>), Claimed>, DbError> {
    let answers = tx.run(&look(request)).await.all()?;
    let ids = ids_due(&answers[1..], request.limit)?;
    let target = read_target(&answers[0], request.now)?;
    Ok(target.map(|target| (target, ids)))
}

/// Takes those of the ids that are still due. Where they go is read after that: what was committed after a pause is never
/// sent during it.
async fn claim(tx: &mut Tx, request: &ClaimRequest, ids: &[String]) -> Result<Claimed, DbError> {
    let statements = [take(request, ids), target(request), owned_by(request, ids)];
    let answers = tx.run(&statements).await.all()?;
    match read_target(&answers[1], request.now)? {
        Ok(target) => Ok(Claimed::Deliveries(target, read_claims(&answers[2], request)?)),
        Err(refused) => {
            tx.abandon();
            Ok(refused)
        }
    }
}

/// After an unknown commit: what the token owns, when it owns anything.
async fn find_claimed(tx: &mut Tx, request: &ClaimRequest) -> Result<Option<Claimed>, DbError> {
    let statements = [owned_by(request, &[]), target(request)];
    let answers = tx.run(&statements).await.all()?;
    let claims = read_claims(&answers[0], request)?;
    match read_target(&answers[1], request.now)? {
        _ if claims.is_empty() => Ok(None),
        Ok(target) => Ok(Some(Claimed::Deliveries(target, claims))),
        Err(refused) => Ok(Some(refused)),
    }
}
