//! Makes secrets, and encrypts them for their rows.

use crate::domain::endpoint_headers::EndpointHeaders;
use crate::store::{NewSecret, SealedHeaders, headers_place, secret_place, secret_row};
use contract::{Entropy, SecretId, UnixMillis, id::EndpointId, scheme::Outgoing};
use kit::secrets::MasterKeys;
use std::sync::Arc;

/// The keys, and what secrets are made of.
#[derive(Clone)]
pub struct Vault {
    /// Encrypt what is kept.
    pub master_keys: MasterKeys,
    /// Makes what nobody guesses.
    pub entropy: Arc<dyn Entropy>,
}

impl Vault {
    /// A new secret, in the form that the scheme's receivers know.
    pub(super) fn make_secret(&self, scheme: &Outgoing) -> String {
        scheme.new_secret(self.entropy.as_ref())
    }

    /// A secret of an endpoint, encrypted.
    pub(super) fn seal_secret(
        &self,
        endpoint: &EndpointId,
        id: SecretId,
        text: &str,
        since: UnixMillis,
    ) -> NewSecret {
        let row = secret_row(endpoint, &id);
        let sealed = self
            .master_keys
            .seal(secret_place(&row), text.as_bytes(), self.entropy.as_ref());
        NewSecret { id, sealed, since }
    }

    /// The headers of an endpoint, encrypted, if there are any.
    pub(super) fn seal_headers(
        &self,
        endpoint: &EndpointId,
        headers: &EndpointHeaders,
    ) -> Option<SealedHeaders> {
        if headers.is_empty() {
            return None;
        }
        let text = serde_json::to_vec(headers).expect("texts are plain data");
        Some(SealedHeaders {
            names: headers.keys().cloned().collect(),
            sealed: self
                .master_keys
                .seal(headers_place(endpoint), &text, self.entropy.as_ref()),
        })
    }
}
