//! The secrets of an endpoint: one more that replaces the others after an overlap in which all of them sign, or one that ends.

use super::{
    Desk, DeskError,
    decide_again::{Decision, decide_again},
    webhooks::{chosen, entry, read_secret},
};
use crate::domain::{audit_action::AuditAction, origin::Origin, refusal::Refusal};
use crate::store::{EndpointSecret, SecretChange, SecretsChanged, WhatOfSecrets};
use contract::{Scope, UnixMillis, id::EndpointId, secret::SECRETS_MAX};
use kit::shape;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use validator::Validate;

/// How long the secrets before a new one go on signing when nothing is said, and at most, in seconds.
const OVERLAP_DEFAULT: u32 = 24 * 3600;

/// What a rotation asks for, beside the secret.
#[derive(Deserialize, Serialize, Validate)]
#[serde(deny_unknown_fields)]
struct RotationBody {
    #[serde(default = "overlap_default")]
    #[validate(range(max = 604_800, message = "it must be 0 to 604800 seconds, 7 days"))]
    overlap_seconds: u32,
}

fn overlap_default() -> u32 {
    OVERLAP_DEFAULT
}

/// A secret that was added, which is shown this once if it was made here.
#[derive(Debug)]
pub struct RotatedSecret {
    /// Its number.
    pub n: u64,
    /// From when on it signs.
    pub since: UnixMillis,
    /// When the others end.
    pub others_until: UnixMillis,
    /// The secret, unless the client gave it.
    pub secret: Option<String>,
}

impl Desk {
    /// Adds a secret.
    ///
    /// # Errors
    /// What the rules refuse; `Overtaken`; those of the database.
    pub async fn rotate_secret(
        &self,
        origin: &Origin,
        id: &EndpointId,
        mut body: Map<String, Value>,
    ) -> Result<RotatedSecret, DeskError> {
        let scheme = chosen(&self.endpoint(&origin.scope, id).await?)?.outgoing();
        let given = read_secret(body.remove("secret"), &scheme)?;
        let body: RotationBody =
            shape::fit(&Value::Object(body)).map_err(|error| Refusal::Invalid(vec![error]))?;
        body.validate()
            .map_err(|errors| Refusal::Invalid(shape::field_errors(&errors)))?;
        let text = given.clone().unwrap_or_else(|| self.vault.make_secret(&scheme));
        let since = self.clock.now();
        let others_until = since.plus_millis(i64::from(body.overlap_seconds) * 1_000);
        let sealed = self.vault.seal_secret(id, self.new_id(), &text, since);
        let what = WhatOfSecrets::Rotated(sealed, others_until);
        let n = self
            .change_secrets(origin, id, &what, AuditAction::SecretRotated)
            .await?;
        Ok(RotatedSecret {
            n,
            since,
            others_until,
            secret: given.is_none().then_some(text),
        })
    }

    /// Ends a secret that is not the last one.
    ///
    /// # Errors
    /// `NotFound`, `LastSecret`, `Overtaken`; those of the database.
    pub async fn end_secret(&self, origin: &Origin, id: &EndpointId, n: u64) -> Result<(), DeskError> {
        let what = WhatOfSecrets::Ended(n);
        self.change_secrets(origin, id, &what, AuditAction::SecretEnded)
            .await
            .map(drop)
    }

    /// The secrets of an endpoint, the newest first; those that have ended stay until the next is added.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn secrets(&self, scope: &Scope, id: &EndpointId) -> Result<Vec<EndpointSecret>, DeskError> {
        self.endpoint(scope, id).await?;
        Ok(self.store.endpoint_secrets(id).await?)
    }

    async fn change_secrets(
        &self,
        origin: &Origin,
        id: &EndpointId,
        what: &WhatOfSecrets,
        action: AuditAction,
    ) -> Result<u64, DeskError> {
        decide_again(|| async {
            let seen = self.endpoint(&origin.scope, id).await?;
            chosen(&seen)?;
            let at = self.clock.now();
            let change = SecretChange {
                seen,
                what: what.clone(),
                at,
                entry: entry(origin, action, id, at),
                event: self.new_id(),
            };
            match self.store.change_secrets(change).await? {
                SecretsChanged::Changed(n) => Ok(Decision::Stands(n)),
                SecretsChanged::Overtaken => Ok(Decision::Overtaken),
                SecretsChanged::NoSecret => Err(Refusal::NotFound.into()),
                SecretsChanged::TheLast => Err(Refusal::LastSecret.into()),
                SecretsChanged::TooMany => Err(Refusal::TooManySecrets(SECRETS_MAX).into()),
            }
        })
        .await
    }
}
