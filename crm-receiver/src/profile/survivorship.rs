//! Which value a profile shows when several records of one person differ: one function for each rule.
//!
//! "Latest" is by the commit time in the record's event, then by its ids: never by arrival. The records come in any
//! order; no rule looks at it. A record that its source merged into another stands as it was then: it lends a value only
//! where no other has one.

use super::{
    consent,
    guest::{GuestFacts, Name, Provenance, shown_address, shown_item},
};
use contract::{MailboxKind, json};
use jiff::civil::Date;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The latest value that is there.
fn latest<'f, T>(facts: &'f [GuestFacts<'f>], value: impl Fn(&'f GuestFacts<'f>) -> Option<T>) -> Option<T> {
    let present = facts
        .iter()
        .filter_map(|fact| Some(((!fact.merged, &fact.provenance), value(fact)?)));
    present.max_by_key(|(rank, _)| *rank).map(|(_, value)| value)
}

/// The most frequent name; of equally frequent ones the latest.
pub fn name(facts: &[GuestFacts<'_>]) -> Option<Name> {
    let mut count: BTreeMap<&Name, (usize, &Provenance)> = BTreeMap::new();
    let in_use = facts.iter().any(|fact| !fact.merged && fact.name.is_some());
    for fact in facts.iter().filter(|fact| !(in_use && fact.merged)) {
        if let Some(name) = &fact.name {
            let seen = count.entry(name).or_insert((0, &fact.provenance));
            *seen = (seen.0 + 1, seen.1.max(&fact.provenance));
        }
    }
    count
        .into_iter()
        .max_by_key(|(_, seen)| *seen)
        .map(|(name, _)| name.clone())
}

/// The best e-mail: one whose record allows e-mail, then a person's own, then the latest; an agency's relay only when
/// there is nothing else.
pub fn email(facts: &[GuestFacts<'_>]) -> Option<(String, MailboxKind)> {
    let rank = |fact: &&GuestFacts<'_>| {
        let kind = fact.email_kind();
        (
            kind != MailboxKind::OtaRelay,
            !fact.merged,
            consent::grants(fact.record, "email"),
            kind,
            fact.provenance.clone(),
        )
    };
    let best = facts
        .iter()
        .filter(|fact| fact.email.is_some())
        .max_by_key(rank)?;
    Some((best.email?.to_owned(), best.email_kind()))
}

/// The latest telephone number.
pub fn phone(facts: &[GuestFacts<'_>]) -> Option<String> {
    latest(facts, |fact| fact.phone.map(str::to_owned))
}

/// The latest postal address, whole: its lines are never mixed with another's.
pub fn address(facts: &[GuestFacts<'_>]) -> Option<Map<String, Value>> {
    latest(facts, |fact| fact.address.map(shown_address))
}

/// The latest text of a field that has no rule of its own: title, language.
pub fn latest_text(facts: &[GuestFacts<'_>], field: &str) -> Option<String> {
    latest(facts, |fact| fact.payload().owned(field))
}

/// The date of birth: of a record with a document first, then the latest.
pub fn date_of_birth(facts: &[GuestFacts<'_>]) -> Option<Date> {
    verified_first(facts, |fact| fact.date_of_birth)
}

/// The nationality: of a record with a document first, then the latest.
pub fn nationality(facts: &[GuestFacts<'_>]) -> Option<String> {
    verified_first(facts, |fact| fact.nationality.map(str::to_owned))
}

fn verified_first<'f, T>(
    facts: &'f [GuestFacts<'f>],
    value: impl Fn(&'f GuestFacts<'f>) -> Option<T>,
) -> Option<T> {
    let rank = |fact: &GuestFacts<'_>| (!fact.merged, fact.document_verified(), fact.provenance.clone());
    let present = facts.iter().filter_map(|fact| Some((rank(fact), value(fact)?)));
    present
        .max_by(|left, right| left.0.cmp(&right.0))
        .map(|(_, value)| value)
}

/// The highest VIP level: by the number in it, then by its text.
pub fn vip_level(facts: &[GuestFacts<'_>]) -> Option<Value> {
    let levels = facts.iter().filter_map(|fact| {
        let value = fact.record.state.get("vip_level")?;
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) if !text.trim().is_empty() => text.trim().to_owned(),
            _ => return None,
        };
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        Some((!fact.merged, digits.parse::<u64>().unwrap_or(0), text, value))
    });
    levels
        .max_by(|left, right| (left.0, left.1, &left.2).cmp(&(right.0, right.1, &right.2)))
        .map(|(.., value)| value.clone())
}

/// Blacklisted by any record, also by one that was merged: no merge lifts it.
pub fn blacklisted(facts: &[GuestFacts<'_>]) -> bool {
    facts.iter().any(|fact| fact.payload().flag("blacklisted"))
}

/// All different items of a list field, in the order of their canonical text.
pub fn union(facts: &[GuestFacts<'_>], field: &str) -> Vec<Value> {
    let items = facts.iter().flat_map(|fact| fact.payload().list(field));
    let distinct: BTreeMap<Vec<u8>, &Value> = items.map(|item| (json::canonical(item), item)).collect();
    distinct.into_values().map(shown_item).collect()
}

#[cfg(test)]
mod tests;
