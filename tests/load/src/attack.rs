//! The attacks and floods that can be chosen.

use clap::ValueEnum;
use serde::Serialize;

/// What an attack sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// Bodies of 256 KiB with 75,000 tiny values, 60 at once (R43)
    Bodies,
    /// Lists of the largest records, asked for on thousands of connections and never read (R44)
    Lists,
    /// A fresh idempotency key for each request that changes nothing, and changes of one field of the largest guest (A16)
    Keys,
    /// Filters that match nothing, asked for by twelve clients beside single reads and accepts (R46)
    Filters,
}

/// What each connection of a flood does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FloodKind {
    /// Opens, and says nothing.
    Idle,
    /// Half of a short head.
    HalfHeads,
    /// Almost all of the longest head.
    LongHeads,
    /// A head that is in order but for its signature, and the beginning of its body.
    HalfBodies,
    /// The same, with as much of each body as all of them together may have.
    LongBodies,
    /// One whole request, and then silence.
    Kept,
}
