-- Who may send: one row for each path under /webhooks. Secrets stay in memory, never here.
CREATE TABLE sources (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    scheme VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    max_skew_seconds BIGINT NOT NULL,
    on_invalid VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    enabled BIGINT NOT NULL
) ENGINE = InnoDB;

-- Every event ever accepted, under an id of ours. The unique key decides what is new.
CREATE TABLE inbox (
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    idempotency_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- SHA-256 over the salt and the raw body; both are NULL once the event is erased or suppressed.
    fingerprint VARBINARY(32),
    salt VARBINARY(16),
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    schema_version BIGINT NOT NULL,
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
    entity_kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    entity_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    entity_version BIGINT,
    correlation_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    occurred_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    applied_at BIGINT,
    attempts BIGINT NOT NULL,
    last_error VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    -- From when the projector may take it: later than received_at only after a failure.
    due_at BIGINT NOT NULL,
    UNIQUE KEY inbox_key (source_id, idempotency_key),
    KEY inbox_due (status, due_at, event_id),
    KEY inbox_received (received_at, event_id),
    KEY inbox_entity (entity_id),
    KEY inbox_correlation (correlation_id)
) ENGINE = InnoDB;

-- The raw bodies, apart from the events, so that a purge never rewrites an event.
CREATE TABLE inbox_bodies (
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    body MEDIUMBLOB NOT NULL
) ENGINE = InnoDB;

-- The guests that a source erased, for ever: written with the erasure, read before anything about them is kept.
CREATE TABLE erasures (
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    entity_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The event that erased it.
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    erased_at BIGINT NOT NULL,
    PRIMARY KEY (source_id, entity_id)
) ENGINE = InnoDB;
