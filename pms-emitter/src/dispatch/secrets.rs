//! The secrets that sign what is sent, by endpoint. They are in memory alone, never in a table.

use contract::{SecretList, id::EndpointId};
use std::collections::HashMap;

/// The signing secrets of all endpoints.
#[derive(Clone, Default)]
pub struct SigningSecrets(HashMap<EndpointId, SecretList>);

impl SigningSecrets {
    /// The secrets of an endpoint; none when nothing can be signed for it.
    pub fn of(&self, endpoint: &EndpointId) -> Option<&SecretList> {
        self.0.get(endpoint)
    }
}

impl FromIterator<(EndpointId, SecretList)> for SigningSecrets {
    fn from_iter<I: IntoIterator<Item = (EndpointId, SecretList)>>(secrets: I) -> Self {
        Self(secrets.into_iter().collect())
    }
}
