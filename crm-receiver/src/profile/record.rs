//! Records: the latest known state of one guest or one reservation of one source.
//!
//! Which state is current is decided by [`Record::precedence`], a total order over everything that a record says, so that
//! the same set of events ends in the same record whatever their order and number.

use super::payload::Payload;
use contract::{EntityId, EventId, EventType, ProfileId, PropertyId, SourceId, UnixMillis, json};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::{cmp::Reverse, collections::BTreeMap, fmt, sync::Arc};
use strum::{EnumString, IntoStaticStr};

/// The kinds of entity that are folded, as the tables and answers spell them.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RecordKind {
    /// A guest record of a PMS.
    Guest,
    /// A reservation.
    Reservation,
}

/// Which record: an id is unique within its source and kind only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// Who sent it.
    pub source: SourceId,
    /// What it is.
    pub kind: RecordKind,
    /// Its id at the sender.
    pub id: EntityId,
}

/// A guest record's identity: it owns one profile id, known or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GuestKey {
    /// Who sent it.
    pub source: SourceId,
    /// The guest's id at the sender.
    #[serde(rename = "guest_id")]
    pub id: EntityId,
}

impl GuestKey {
    /// The record of this guest.
    pub fn record(&self) -> RecordKey {
        RecordKey {
            source: self.source.clone(),
            kind: RecordKind::Guest,
            id: self.id.clone(),
        }
    }

    /// The profile id that this record owns for ever: `prf_` and the base32 of the first 16 bytes of a SHA-256 over
    /// source, a zero byte, and guest id.
    pub fn profile_id(&self) -> ProfileId {
        let digest = Sha256::new()
            .chain_update(self.source.as_str())
            .chain_update([0])
            .chain_update(self.id.as_str())
            .finalize();
        let text = data_encoding::BASE32_NOPAD
            .encode(&digest[..16])
            .to_ascii_lowercase();
        format!("prf_{text}")
            .parse()
            .expect("base32 is within the alphabet of ids")
    }
}

impl RecordKey {
    /// The guest whose record this is; None for a reservation.
    pub fn guest(&self) -> Option<GuestKey> {
        (self.kind == RecordKind::Guest).then(|| GuestKey {
            source: self.source.clone(),
            id: self.id.clone(),
        })
    }
}

/// What a guest is to a reservation, the most involved first: somebody with two roles has the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Stays, and nights and revenue count for them.
    Primary,
    /// Stays too.
    Accompanying,
    /// Booked it, and need not stay.
    Booker,
}

/// The latest known state of one entity of one source.
///
/// Everything but `event_id` is a function of the set of events received for it; `event_id` is the receiver's own id
/// of an event with this state, kept to name the loser of a conflict, and never shown in a profile.
#[derive(Clone, PartialEq)]
pub struct Record {
    /// Which record.
    pub key: RecordKey,
    /// The property it belongs to.
    pub property_id: Option<PropertyId>,
    /// The entity's commit.
    pub version: u64,
    /// SHA-256 over the canonical payload.
    pub digest: [u8; 32],
    /// Whether this commit deleted it; the state is then the last one.
    pub deleted: bool,
    /// When the change was committed at the sender.
    pub occurred_at: UnixMillis,
    /// The type of the event with this state.
    pub event_type: EventType,
    /// The event with this state.
    pub event_id: EventId,
    /// The payload, whole.
    pub state: Arc<Map<String, Value>>,
}

/// The state holds a person, so only what names the record is shown.
impl fmt::Debug for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Record({}/{}/{} v{})",
            self.key.source,
            self.key.kind.into_str(),
            self.key.id,
            self.version
        )
    }
}

/// Members that a payload is allocated for: a reservation of ours has about as many.
const MEMBERS_USUAL: usize = 48;

/// A payload as it is read from JSON, allocated once.
pub struct Members(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
                let mut read = Map::with_capacity(MEMBERS_USUAL);
                while let Some((name, value)) = members.next_entry()? {
                    read.insert(name, value);
                }
                Ok(Members(read))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// SHA-256 over a payload as [`contract::json::canonical`] writes it, beside the payload: equal states are equal
/// digests. The payload's members are sorted: the order in which a sender writes them is no part of a state.
pub fn digested(payload: Map<String, Value>) -> ([u8; 32], Arc<Map<String, Value>>) {
    let mut payload = Value::Object(payload);
    payload.sort_all_objects();
    let digest = Sha256::digest(json::canonical(&payload)).into();
    match payload {
        Value::Object(members) => (digest, Arc::new(members)),
        _ => unreachable!("made as an object above"),
    }
}

impl Record {
    /// The order of precedence among the states of one entity: the greatest is current. First the version; of two
    /// states under one version the smaller digest; then, for the same payload, everything else that is shown.
    pub fn precedence(&self) -> impl Ord + '_ {
        (
            self.version,
            Reverse(self.digest),
            self.deleted,
            Reverse((self.occurred_at, self.event_type, self.property_id.as_ref())),
        )
    }

    /// Whether two records are the same state of the same commit, whatever event carried it.
    pub fn same_state(&self, other: &Self) -> bool {
        self.version == other.version && self.digest == other.digest && self.deleted == other.deleted
    }

    /// The guests that a reservation names, each with the first of its roles; none once it is deleted.
    pub fn guests(&self) -> BTreeMap<GuestKey, Role> {
        let mut guests = BTreeMap::new();
        if self.key.kind != RecordKind::Reservation || self.deleted {
            return guests;
        }
        let payload = Payload(&self.state);
        let primary = payload.text("primary_guest_id").map(|id| (id, Role::Primary));
        let accompanying = payload.list("accompanying_guest_ids").iter();
        let accompanying = accompanying.filter_map(|id| Some((id.as_str()?, Role::Accompanying)));
        let booker = payload.text("booker_guest_id").map(|id| (id, Role::Booker));
        for (id, role) in primary.into_iter().chain(accompanying).chain(booker) {
            if let Ok(id) = id.parse() {
                let source = self.key.source.clone();
                guests.entry(GuestKey { source, id }).or_insert(role);
            }
        }
        guests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case21_no_digest_sees_the_order_of_members() {
        let sorted = r#"{"address":{"city":"Porto","line1":"1"},"last_name":"Silva","loyalty":[{"number":"1","programme":"p"}],"version":3}"#;
        let sent = r#"{"version":3,"loyalty":[{"programme":"p","number":"1"}],"last_name":"Silva","address":{"line1":"1","city":"Porto"}}"#;
        for text in [sorted, sent] {
            let (digest, state) = digested(serde_json::from_str(text).unwrap());
            // SHA-256 of the sorted text, computed with another program: what older records were digested to.
            let expected = "03c8d09e4ed99b308561dfcc7928aab38e1e9196b6b5aced44bff4512781cf13";
            assert_eq!(data_encoding::HEXLOWER.encode(&digest), expected);
            assert_eq!(serde_json::to_string(&*state).unwrap(), sorted);
        }
    }

    #[test]
    fn a_profile_id_is_made_of_source_and_guest() {
        let key = |source: &str, id: &str| GuestKey {
            source: source.parse().unwrap(),
            id: id.parse().unwrap(),
        };
        let id = key("pms", "gst_1").profile_id();
        assert_eq!(id.as_str().len(), "prf_".len() + 26);
        assert_eq!(id, key("pms", "gst_1").profile_id());
        assert_ne!(id, key("pm", "sgst_1").profile_id());
        assert_ne!(id, key("other", "gst_1").profile_id());
    }
}
