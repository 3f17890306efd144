//! The result of an attack: a table for people, one line of JSON for programs.

use crate::attack::Attack;
use crate::figures::{LoadFigures, heading, line};
use crate::flood::Tally;
use crate::watch::{Memory, too_large};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A whole run; as JSON, exactly these fields.
#[derive(Clone, Debug, Serialize)]
pub struct HostileReport {
    /// What was sent.
    pub attack: Attack,
    /// `sqlite` or `mysql`.
    pub engine: &'static str,
    /// By service.
    pub services: BTreeMap<&'static str, Attacked>,
    /// Violations; empty when every service passed.
    pub faults: Vec<String>,
}

/// One service under the attack.
#[derive(Clone, Debug, Serialize)]
pub struct Attacked {
    /// What was sent to it, in this order.
    pub lines: Vec<Line>,
    /// MiB resident; the peak is that of the attack.
    pub memory_mib: Memory,
    /// Violations.
    #[serde(skip)]
    pub faults: Vec<String>,
}

/// One part of the attack, or what was asked beside it.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Requests whose answers were read.
    pub load: Option<LoadFigures>,
    /// Connections whose answers were not.
    pub unread: Option<Tally>,
    /// What it left in the database.
    pub growth: Option<Growth>,
}

/// How a database grew.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Growth {
    /// Bytes, by whole pages, more than before.
    pub bytes: u64,
    /// Bytes by requests that were answered 2xx.
    pub bytes_per_request: u64,
}

impl Line {
    /// Of a load whose answers were read.
    pub fn load(name: &str, load: LoadFigures) -> Self {
        Self {
            name: name.to_owned(),
            load: Some(load),
            unread: None,
            growth: None,
        }
    }

    /// Of connections that did not read.
    pub fn unread(name: &str, tally: Tally) -> Self {
        Self {
            name: name.to_owned(),
            load: None,
            unread: Some(tally),
            growth: None,
        }
    }
}

impl HostileReport {
    /// The report on these services. A service that used too much memory is a violation.
    pub fn new(
        attack: Attack,
        engine: &'static str,
        services: impl IntoIterator<Item = (&'static str, Attacked)>,
    ) -> Self {
        let services: BTreeMap<_, _> = services.into_iter().collect();
        let mut faults = Vec::new();
        for (service, attacked) in &services {
            faults.extend(attacked.faults.iter().map(|fault| format!("{service}: {fault}")));
            faults.extend(too_large(service, attacked.memory_mib.peak));
        }
        Self {
            attack,
            engine,
            services,
            faults,
        }
    }
}

impl fmt::Display for HostileReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} engine; {:?}", self.engine, self.attack)?;
        heading(out)?;
        for (service, attacked) in &self.services {
            writeln!(out, "{service}: {}", attacked.memory_mib)?;
            for line in &attacked.lines {
                write!(out, "{line}")?;
            }
        }
        for fault in &self.faults {
            writeln!(out, "FAULT: {fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(load) = &self.load {
            line(out, &self.name, load)?;
        }
        if let Some(Tally {
            waiting,
            refused,
            answered,
            closed,
        }) = &self.unread
        {
            writeln!(
                out,
                "{}: {answered} answers begun, {refused} x 503, {waiting} still wait, {closed} closed",
                self.name
            )?;
        }
        if let Some(growth) = &self.growth {
            writeln!(
                out,
                "    the database grew by {} KiB, {} bytes a request",
                growth.bytes / 1024,
                growth.bytes_per_request
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::RESIDENT_MIB_MAX;

    fn attacked(peak: f64, faults: &[&str]) -> Attacked {
        Attacked {
            lines: Vec::new(),
            memory_mib: Memory {
                peak,
                ..Memory::default()
            },
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
        }
    }

    #[test]
    fn a_service_that_holds_too_much_or_answers_wrongly_is_at_fault() {
        let report = |emitter, receiver| {
            HostileReport::new(Attack::Bodies, "sqlite", [("e", emitter), ("r", receiver)]).faults
        };
        let good = || attacked(RESIDENT_MIB_MAX - 0.5, &[]);
        assert_eq!(report(good(), good()), Vec::<String>::new());
        assert_eq!(report(good(), attacked(RESIDENT_MIB_MAX, &[])).len(), 1);
        assert_eq!(report(attacked(1.0, &["slow"]), good()), ["e: slow"]);
    }
}
