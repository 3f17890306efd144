-- Who may send: one row for each path under /webhooks. Secrets stay in memory, never here.
CREATE TABLE sources (
    id TEXT NOT NULL PRIMARY KEY,
    scheme TEXT NOT NULL,
    max_skew_seconds INTEGER NOT NULL,
    on_invalid TEXT NOT NULL,
    enabled INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every event ever accepted, under an id of ours. The unique key decides what is new.
CREATE TABLE inbox (
    event_id TEXT NOT NULL PRIMARY KEY,
    source_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    -- SHA-256 over the salt and the raw body; both are NULL once the event is erased or suppressed.
    fingerprint BLOB,
    salt BLOB,
    status TEXT NOT NULL,
    type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    property_id TEXT,
    entity_kind TEXT,
    entity_id TEXT,
    entity_version INTEGER,
    correlation_id TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    applied_at INTEGER,
    attempts INTEGER NOT NULL,
    last_error TEXT,
    -- From when the projector may take it: later than received_at only after a failure.
    due_at INTEGER NOT NULL,
    UNIQUE (source_id, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX inbox_due ON inbox (status, due_at, event_id);

CREATE INDEX inbox_received ON inbox (received_at, event_id);

CREATE INDEX inbox_entity ON inbox (entity_id);

CREATE INDEX inbox_correlation ON inbox (correlation_id);

-- The raw bodies, apart from the events, so that a purge never rewrites an event.
CREATE TABLE inbox_bodies (
    event_id TEXT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- The guests that a source erased, for ever: written with the erasure, read before anything about them is kept.
CREATE TABLE erasures (
    source_id TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    -- The event that erased it.
    event_id TEXT NOT NULL,
    erased_at INTEGER NOT NULL,
    PRIMARY KEY (source_id, entity_id)
) STRICT, WITHOUT ROWID;
