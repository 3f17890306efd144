-- The log of events: one row for each commit of an entity, kept also when nobody subscribes.
-- feed_seq is given after the commit, by the sequencer; committed_at is for people, never for order. A ping has neither
-- a property nor an entity.
CREATE TABLE events (
    id TEXT NOT NULL PRIMARY KEY,
    feed_seq INTEGER UNIQUE,
    type TEXT NOT NULL,
    property_id TEXT,
    entity_kind TEXT,
    entity_id TEXT,
    entity_version INTEGER,
    correlation_id TEXT,
    traceparent TEXT,
    committed_at INTEGER NOT NULL,
    changed TEXT NOT NULL,
    UNIQUE (entity_kind, entity_id, entity_version)
) STRICT, WITHOUT ROWID;

-- The bytes that are signed and sent, apart from the log, so that erasing them never rewrites it.
CREATE TABLE event_bodies (
    event_id TEXT NOT NULL PRIMARY KEY,
    body BLOB
) STRICT;

-- Whom events are delivered to. subscribed: new events get a delivery; disabled_reason: nothing is sent for now, the
-- queue is kept. paused_at is when paused_until was set: one that lies ahead tells that the clock was set back.
-- backfill_after: events up to this id have their delivery; NULL when all have. Secrets are not here.
CREATE TABLE endpoints (
    id TEXT NOT NULL PRIMARY KEY,
    url TEXT,
    subscribed INTEGER NOT NULL,
    disabled_reason TEXT,
    retry_schedule TEXT,
    first_delay_ms INTEGER NOT NULL DEFAULT 0,
    paused_until INTEGER NOT NULL DEFAULT 0,
    paused_at INTEGER NOT NULL DEFAULT 0,
    backfill_after TEXT,
    breaker_state TEXT NOT NULL DEFAULT 'closed',
    breaker_since INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    last_success_at INTEGER,
    last_error_at INTEGER,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE breaker_history (
    endpoint_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    id TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (endpoint_id, at, id)
) STRICT, WITHOUT ROWID;

-- One event on its way to one endpoint: pending, delivered or dead. due_at 0 is "at once", whatever the clock says.
-- due_set_at is when due_at was set: one that lies ahead tells that the clock was set back.
-- owner, lease_until and epoch are the claim of a dispatcher; a settled row keeps the owner that settled it.
-- attempts_before: attempts made before it was last made due again by hand; the schedule counts from there.
CREATE TABLE deliveries (
    endpoint_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending',
    due_at INTEGER NOT NULL,
    due_set_at INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    lease_until INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    attempts_before INTEGER NOT NULL DEFAULT 0,
    last_status INTEGER,
    last_error TEXT,
    settled_at INTEGER,
    PRIMARY KEY (endpoint_id, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_due ON deliveries (endpoint_id, status, due_at, event_id);

CREATE INDEX deliveries_due_set ON deliveries (endpoint_id, status, due_set_at, event_id);

CREATE TABLE delivery_attempts (
    endpoint_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status INTEGER,
    error TEXT,
    PRIMARY KEY (endpoint_id, event_id, number)
) STRICT, WITHOUT ROWID;
