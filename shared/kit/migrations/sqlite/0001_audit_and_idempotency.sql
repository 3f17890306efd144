-- One row per effect, in the transaction of that effect. seq is its place in the log, given after the commit.
CREATE TABLE audit_entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER UNIQUE,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT,
    actor TEXT,
    source TEXT,
    event_id TEXT,
    property_id TEXT,
    entity_kind TEXT,
    entity_id TEXT,
    entity_version INTEGER,
    -- A JSON list of the names of changed fields; never their values.
    changed TEXT,
    correlation_id TEXT,
    request_id TEXT
) STRICT;

CREATE INDEX audit_entries_event ON audit_entries (event_id);

CREATE INDEX audit_entries_entity ON audit_entries (entity_kind, entity_id);

-- Duplicates and rejects, counted per minute and cause, so that no flood of them fills the disk.
CREATE TABLE audit_counts (
    -- Unix milliseconds of the minute's beginning.
    minute INTEGER NOT NULL,
    kind TEXT NOT NULL,
    cause TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (minute, kind, cause)
) STRICT, WITHOUT ROWID;

-- The answer to a request with an Idempotency-Key, written in the commit that it describes.
CREATE TABLE idempotency (
    principal TEXT NOT NULL,
    method TEXT NOT NULL,
    route TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    status INTEGER,
    location TEXT,
    etag TEXT,
    entity_kind TEXT,
    entity_id TEXT,
    body BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (principal, method, route, idempotency_key)
) STRICT;

CREATE INDEX idempotency_expires ON idempotency (expires_at);

-- Erasing a person finds the answers that show it.
CREATE INDEX idempotency_entity ON idempotency (entity_kind, entity_id);
