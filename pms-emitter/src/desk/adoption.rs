//! The environment's webhook becomes one of the others: what the variables say is kept in the tables.

use super::Vault;
use crate::domain::audit_action::AuditAction;
use crate::domain::endpoint::{CONCURRENCY_MAX, EndpointSettings, TIMEOUT_MAX};
use crate::store::{NewSecret, Store, env_endpoint};
use contract::scheme::Preset;
use contract::{Ids, Scope, Secret, SecretId, TypedId, UnixMillis};
use db::DbError;
use kit::audit::AuditEntry;
use std::time::Duration;

/// What the environment says of its webhook.
#[derive(Clone, Copy, Debug)]
pub struct Environment<'e> {
    /// Where it goes.
    pub url: &'e str,
    /// What signs, the newest first.
    pub secrets: &'e [Secret],
    /// One attempt.
    pub timeout: Duration,
    /// Attempts at once.
    pub concurrency: usize,
}

impl Environment<'_> {
    /// Keeps it in the tables; false when that was done before. Beyond what a webhook may be it is cut: 30 seconds, 64 at once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn adopt(
        self,
        store: &Store,
        vault: &Vault,
        ids: &Ids,
        now: UnixMillis,
    ) -> Result<bool, DbError> {
        let id = env_endpoint();
        let secrets: Vec<NewSecret> = self
            .secrets
            .iter()
            .map(|secret| {
                let secret_id: SecretId = ids
                    .new_id(SecretId::PREFIX)
                    .parse()
                    .unwrap_or_else(|_| unreachable!("the ids we make are valid ids"));
                vault.seal_secret(&id, secret_id, &secret.text(), now)
            })
            .collect();
        let entry = AuditEntry {
            actor: Some("operator".to_owned()),
            source: Some(id.to_string()),
            entity_kind: Some("webhook".to_owned()),
            entity_id: Some(id.to_string()),
            ..AuditEntry::new(AuditAction::EndpointCreated, now)
        };
        store.adopt_endpoint(id, self.settings(), secrets, entry).await
    }

    fn settings(&self) -> EndpointSettings {
        EndpointSettings {
            timeout_seconds: u32::try_from(self.timeout.min(TIMEOUT_MAX).as_secs()).unwrap_or(1),
            max_concurrency: u32::try_from(self.concurrency)
                .unwrap_or(u32::MAX)
                .min(CONCURRENCY_MAX),
            ..EndpointSettings::of_everything("env", self.url, Scope::All, Preset::StandardWebhooks)
        }
    }
}
