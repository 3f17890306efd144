//! The failpoints of each service, in the order in which it passes them.
//!
//! An architecture test holds these lists and the services' code together.

/// Of the emitter, each with the fault that its end is (faults.md).
pub const EMITTER: [(&str, &str); 9] = [
    ("write.begin", "F1: before the commit"),
    ("write.inside", "F1: inside the commit"),
    ("write.committed", "F1: after the commit, before the answer"),
    ("fanout.inside", "F2: while events are queued for the endpoints"),
    ("fanout.committed", "F2: queued, and no dispatcher woken"),
    ("claim.committed", "F2: after the claim, before connecting"),
    ("attempt.answered", "F4: after the 2xx, before settling"),
    ("settle.inside", "F4: while settling"),
    ("settle.committed", "F4: settled, and not yet noted"),
];

/// Of the receiver.
pub const RECEIVER: [(&str, &str); 6] = [
    ("delivery.unverified", "F6: before verifying"),
    ("accept.begin", "F6: before the commit"),
    ("accept.inside", "F6: inside the commit"),
    ("accept.committed", "F6: after the commit, before the answer"),
    ("project.inside", "F6: in the middle of a projection"),
    ("project.between", "F7: between projection batches"),
];
