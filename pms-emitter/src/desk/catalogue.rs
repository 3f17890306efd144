//! What publishing an event asks again and again, kept in memory: how the payloads of a type are checked, and that a property is
//! there.
//!
//! A type may be changed by another process at any time: what is kept names the revision that it is of, and the transaction that
//! writes an event asks for it. Properties are never deleted.

use super::{Desk, DeskError};
use crate::domain::{
    guest_command::no_property, payload_schema::PayloadSchema, refusal::Refusal, shipped_types,
    type_definition::TypeName,
};
use contract::{PropertyId, Scope};
use db::DbError;
use moka::{policy::EvictionPolicy, sync::Cache};
use serde_json::Value;
use std::sync::Arc;

/// Bytes of compiled schemas, as far as they are estimated.
const SCHEMA_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Estimated bytes of a type beside its schema.
const TYPE_BYTES: usize = 512;
/// Properties that are known to be there.
const PROPERTIES_MAX: u64 = 10_000;

/// How the payloads of a type are checked.
#[derive(Debug)]
pub struct KnownType {
    /// Of which revision of its definition; none of a type that comes with the program.
    pub revision: Option<String>,
    /// Its schema, if it has one.
    pub schema: Option<PayloadSchema>,
}

/// What is kept. Clones share it.
#[derive(Clone, Debug)]
pub struct Catalogue {
    types: Cache<String, Arc<KnownType>>,
    properties: Cache<PropertyId, ()>,
}

impl Default for Catalogue {
    fn default() -> Self {
        let types = Cache::builder()
            .max_capacity(SCHEMA_BYTES_MAX)
            .weigher(|_: &String, known: &Arc<KnownType>| {
                let bytes = TYPE_BYTES + known.schema.as_ref().map_or(0, PayloadSchema::bytes);
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self {
            types,
            properties: Cache::new(PROPERTIES_MAX),
        }
    }
}

impl Catalogue {
    /// Forgets a type, which has changed.
    pub fn forget(&self, name: &str) {
        self.types.invalidate(name);
    }
}

impl Desk {
    /// How the payloads of a type are checked that others may publish.
    ///
    /// # Errors
    /// `Invalid` for a type that is not in the catalogue; those of the database.
    pub(super) async fn known_type(&self, name: &str) -> Result<Arc<KnownType>, DeskError> {
        if let Some(known) = self.catalogue.types.get(name) {
            return Ok(known);
        }
        let known = Arc::new(match shipped_types::find(name) {
            Some(shipped) => KnownType {
                revision: None,
                schema: Some(compiled(&shipped.schema)?),
            },
            None => self.registered_type(name).await?,
        });
        self.catalogue.types.insert(name.to_owned(), Arc::clone(&known));
        Ok(known)
    }

    async fn registered_type(&self, name: &str) -> Result<KnownType, DeskError> {
        let unknown = || {
            Refusal::field(
                "/type",
                "unknown_type",
                "it is not in the catalogue of event types",
            )
        };
        let name: TypeName = name.parse().map_err(|_| unknown())?;
        let found = self.store.event_type(&name).await?.ok_or_else(unknown)?;
        Ok(KnownType {
            revision: Some(found.revision),
            schema: found.schema.as_ref().map(compiled).transpose()?,
        })
    }

    /// Refuses a property that is not there, or not in the scope.
    ///
    /// # Errors
    /// `Invalid`; those of the database.
    pub(super) async fn check_property(&self, scope: &Scope, id: &PropertyId) -> Result<(), DeskError> {
        if !scope.has(id.as_str()) {
            return Err(no_property().into());
        }
        if self.catalogue.properties.get(id).is_none() {
            self.property_in(scope, id).await?.ok_or_else(no_property)?;
            self.catalogue.properties.insert(id.clone(), ());
        }
        Ok(())
    }
}

/// A schema that was checked when it was saved.
fn compiled(schema: &Value) -> Result<PayloadSchema, DbError> {
    PayloadSchema::compile(schema, "").map_err(|_| DbError::unreadable("payload_schema"))
}
