//! The days of properties: written by projection when an event says a newer one, read beside a profile.
//!
//! A day is raised by a guarded write, never after a read: of two projectors the one with the greater day wins, whichever
//! comes last. What is known to be committed is remembered, so that a batch with nothing new writes nothing.

use crate::profile::property_day::{PropertyDay, PropertyDays, add};
use contract::{ProfileId, parse_date};
use db::{DbError, Row, Statement, Tx, params, read_id};
use std::sync::{Arc, Mutex, PoisonError};

/// How many properties are remembered; one more, and all are forgotten.
const REMEMBERED_MAX: usize = 1_024;

/// Days that are committed. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct CommittedDays(Arc<Mutex<PropertyDays>>);

impl CommittedDays {
    /// Those of the days that may be newer than those in the table.
    fn newer(&self, days: &PropertyDays) -> PropertyDays {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newer = |(key, day): &(_, &PropertyDay)| known.get(*key).is_none_or(|known| known < *day);
        let newer = days.iter().filter(is_newer);
        newer.map(|(key, day)| (key.clone(), day.clone())).collect()
    }

    /// These are committed.
    pub(super) fn remember(&self, days: PropertyDays) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + days.len() > REMEMBERED_MAX {
            known.clear();
        }
        for (key, day) in days.into_iter().take(REMEMBERED_MAX) {
            add(&mut known, key, day);
        }
    }
}

/// Writes those of the days that are newer than those in the table.
pub(super) async fn raise(
    tx: &mut Tx,
    days: &PropertyDays,
    committed: &CommittedDays,
) -> Result<(), DbError> {
    let skip = tx.dialect().skip_existing("property_id");
    for ((source, property), day) in committed.newer(days) {
        let (source, property) = (source.as_str(), property.as_str());
        let (date, zone) = (day.business_date.to_string(), day.timezone.as_str());
        let insert = format!(
            "INSERT INTO property_days (property_id, source_id, business_date, timezone) VALUES (?, ?, ?, ?){skip}"
        );
        let raise = "UPDATE property_days SET business_date = ?, timezone = ? WHERE property_id = ? AND source_id = ? \
                     AND (business_date < ? OR (business_date = ? AND timezone < ?))";
        let statements = [
            Statement::change(insert, params![property, source, &date, zone]),
            Statement::change(raise, params![&date, zone, property, source, &date, &date, zone]),
        ];
        tx.run(&statements).await.all()?;
    }
    Ok(())
}

/// Asks for the days of the properties that a profile names.
pub(super) fn question(profile: &ProfileId) -> Statement {
    Statement::query(
        "SELECT source_id, property_id, business_date, timezone FROM property_days \
         WHERE property_id IN (SELECT property_id FROM profile_properties WHERE profile_id = ?)",
        params![profile.as_str()],
    )
}

/// The days that [`question`] is answered with.
pub(super) fn read(rows: &[Row]) -> Result<PropertyDays, DbError> {
    let day = |row: &Row| {
        let date: String = row.get("business_date")?;
        let day = PropertyDay {
            business_date: parse_date(&date).ok_or_else(|| DbError::unreadable("business_date"))?,
            timezone: row.get("timezone")?,
        };
        Ok(((read_id(row, "source_id")?, read_id(row, "property_id")?), day))
    };
    rows.iter().map(day).collect()
}
