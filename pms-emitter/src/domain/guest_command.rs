//! What clients do to a guest: make one, merge a patch into one, delete one.
//!
//! Each is a pure function from a state to at most one commit, so that a write that was overtaken is decided again on
//! fresh state.

pub use super::guest_rules::Situation;
use super::{
    body::{drop_read_only, merge_patch, read_patched},
    change::{Change, ChangeOutcome},
    guest::{Guest, GuestDetails, GuestStatus},
    guest_input::{Aliases, GuestInput, READ_ONLY},
    guest_rules::{Judged, judge},
    property::DEFAULT_PROPERTY,
    record_size::{json_len, within_bound},
    refusal::Refusal,
};
use contract::{EventType, FieldError, GuestId, PropertyId, UnixMillis};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// A command that was carried out, with warnings about what was not taken as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied<T> {
    /// What is to be committed.
    pub outcome: T,
    /// Shown in the answer, kept nowhere.
    pub warnings: Vec<FieldError>,
}

/// The property that a request for a new guest names, or the default one. Takes the field out of the request.
pub fn take_property(request: &mut Map<String, Value>) -> Result<PropertyId, Refusal> {
    match request.remove("property_id") {
        None | Some(Value::Null) => DEFAULT_PROPERTY.parse().map_err(|_| no_property()),
        Some(Value::String(code)) => code.parse().map_err(|_| no_property()),
        Some(_) => Err(Refusal::field(
            "/property_id",
            "wrong_type",
            "has the wrong JSON type",
        )),
    }
}

/// The refusal of a request that names a property that is not there.
pub fn no_property() -> Refusal {
    Refusal::field("/property_id", "unknown_value", "is no property")
}

/// A new guest of a property, from a request without `property_id`.
pub fn create(
    id: GuestId,
    request: Map<String, Value>,
    situation: Situation<'_>,
) -> Result<Applied<Change<Guest>>, Refusal> {
    let (details, warnings) = decide(None, request, situation)?;
    let content = || json_len(&details);
    within_bound(&details, content, || 0)?;
    let changed = GuestDetails::default().differences(&details);
    let state = Guest {
        id,
        property_id: situation.property.id.clone(),
        version: 1,
        status: GuestStatus::Active,
        merged_into: None,
        details,
        created_at: situation.now,
        updated_at: situation.now,
        deleted_at: None,
    };
    let outcome = Change {
        state,
        event_type: EventType::GuestCreated,
        changed,
    };
    Ok(Applied { outcome, warnings })
}

/// A merge patch (RFC 7396): what is absent stays, null clears, lists are replaced.
pub fn merge(
    guest: &Guest,
    mut patch: Map<String, Value>,
    situation: Situation<'_>,
) -> Result<Applied<ChangeOutcome<Guest>>, Refusal> {
    if guest.status != GuestStatus::Active {
        return Err(Refusal::NotFound);
    }
    if let Some(property) = patch.remove("property_id")
        && property.as_str() != Some(guest.property_id.as_str())
    {
        return Err(Refusal::field("/property_id", "immutable", "cannot be changed"));
    }
    let (details, warnings) = decide(Some(&guest.details), patch, situation)?;
    let (content, before) = (|| json_len(&details), || json_len(&guest.details));
    within_bound(&details, content, before)?;
    let changed = guest.details.differences(&details);
    let event_type = match changed.as_slice() {
        [] => {
            let outcome = ChangeOutcome::Unchanged;
            return Ok(Applied { outcome, warnings });
        }
        ["consent"] => EventType::GuestConsentChanged,
        _ => EventType::GuestUpdated,
    };
    let outcome = ChangeOutcome::Changed(Change {
        state: Guest {
            version: guest.version + 1,
            details,
            updated_at: situation.now,
            ..guest.clone()
        },
        event_type,
        changed,
    });
    Ok(Applied { outcome, warnings })
}

/// Deletes a guest: it keeps its last state, as an event and in its row. Whether a stay still needs the guest is checked by the
/// store, in the same transaction.
pub fn delete(guest: &Guest, now: UnixMillis) -> Result<Change<Guest>, Refusal> {
    if guest.status != GuestStatus::Active {
        return Err(Refusal::NotFound);
    }
    Ok(Change {
        state: Guest {
            version: guest.version + 1,
            status: GuestStatus::Deleted,
            updated_at: now,
            deleted_at: Some(now),
            ..guest.clone()
        },
        event_type: EventType::GuestDeleted,
        changed: vec!["status", "deleted_at"],
    })
}

/// The details of a new guest, or after a patch. Of a patch only the members that it sends are checked, each as a whole: the
/// others were accepted under the rules of their time, and stay.
fn decide(
    before: Option<&GuestDetails>,
    mut patch: Map<String, Value>,
    situation: Situation<'_>,
) -> Result<Judged, Refusal> {
    drop_read_only(&mut patch, READ_ONLY);
    let aliases = Aliases::resolve(&mut patch)?;
    let sent: HashSet<String> = patch.keys().cloned().collect();
    let is_checked = |member: &str| before.is_none() || sent.contains(member);
    let mut merged = Value::Object(Map::new());
    // The one member that a patch merges into; any other takes the place of the one before.
    if let Some(address) = before.and_then(|before| before.address.as_ref())
        && sent.contains("address")
    {
        merged = json!({"address": address});
    }
    merge_patch(&mut merged, Value::Object(patch));
    let consent = before.map(|before| before.consent.as_slice()).unwrap_or_default();
    let (mut details, warnings) = read_patched::<GuestInput>(&merged, is_checked)
        .and_then(|input| judge(input, situation, consent))
        .map_err(|errors| Refusal::Invalid(aliases.restore(errors)))?;
    if let Some(before) = before {
        details.keep_unless(before, is_checked);
    }
    Ok((details, aliases.restore(warnings)))
}

#[cfg(test)]
mod largest;
#[cfg(test)]
mod tests;
