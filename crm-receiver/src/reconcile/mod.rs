//! Reconciliation: the feed of the PMS is compared with the inbox, and what is missing is taken in.
//!
//! A delivery may be lost, dead or paused, and nobody here would know. So one replica walks the sender's feed every 10 minutes, and
//! a person may by hand: page by page it asks which ids are not here, fetches the bodies of these, and hands them to the batcher
//! as a webhook would be. What cannot be had is named. The place up to which that is done stands in the tables.

mod client;
mod meters;
mod reconciler;

pub use client::{FeedClient, FeedError, FeedKey, InvalidFeedKey};
pub use meters::ReconcileMeters;
pub use reconciler::{
    FEED_BATCH, RECONCILE_EVERY, ReconcileError, ReconcileStep, Reconciled, Reconciler, ReconcilerParts,
    SETTLED_AFTER,
};

use kit::egress::TargetUrl;

/// Where the feed is, and who asks for it.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// The address of the emitter with its base path. It was set by the operator, so it may be a private one.
    pub url: TargetUrl,
    /// The API key; none where the emitter asks for none.
    pub key: Option<FeedKey>,
}
