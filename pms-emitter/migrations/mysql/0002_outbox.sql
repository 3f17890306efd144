-- The log of events: one row for each commit of an entity, kept also when nobody subscribes.
-- feed_seq is given after the commit, by the sequencer; committed_at is for people, never for order. A ping has neither
-- a property nor an entity.
CREATE TABLE events (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    feed_seq BIGINT UNIQUE,
    type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
    entity_kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    entity_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    entity_version BIGINT,
    correlation_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    traceparent VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    committed_at BIGINT NOT NULL,
    changed LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    UNIQUE (entity_kind, entity_id, entity_version)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The bytes that are signed and sent, apart from the log, so that erasing them never rewrites it.
CREATE TABLE event_bodies (
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    body MEDIUMBLOB
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Whom events are delivered to. subscribed: new events get a delivery; disabled_reason: nothing is sent for now, the
-- queue is kept. paused_at is when paused_until was set: one that lies ahead tells that the clock was set back.
-- backfill_after: events up to this id have their delivery; NULL when all have. Secrets are not here.
CREATE TABLE endpoints (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    url VARCHAR(2048) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    subscribed BIGINT NOT NULL,
    disabled_reason VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    retry_schedule VARCHAR(1024) CHARACTER SET ascii COLLATE ascii_bin,
    first_delay_ms BIGINT NOT NULL DEFAULT 0,
    paused_until BIGINT NOT NULL DEFAULT 0,
    paused_at BIGINT NOT NULL DEFAULT 0,
    backfill_after VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    breaker_state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'closed',
    breaker_since BIGINT NOT NULL,
    delivered BIGINT NOT NULL DEFAULT 0,
    last_success_at BIGINT,
    last_error_at BIGINT,
    last_error VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE breaker_history (
    endpoint_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    at BIGINT NOT NULL,
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    from_state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    to_state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reason VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (endpoint_id, at, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One event on its way to one endpoint: pending, delivered or dead. due_at 0 is "at once", whatever the clock says.
-- due_set_at is when due_at was set: one that lies ahead tells that the clock was set back.
-- owner, lease_until and epoch are the claim of a dispatcher; a settled row keeps the owner that settled it.
-- attempts_before: attempts made before it was last made due again by hand; the schedule counts from there.
CREATE TABLE deliveries (
    endpoint_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'pending',
    due_at BIGINT NOT NULL,
    due_set_at BIGINT NOT NULL DEFAULT 0,
    owner VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    lease_until BIGINT NOT NULL DEFAULT 0,
    epoch BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    attempts_before BIGINT NOT NULL DEFAULT 0,
    last_status BIGINT,
    last_error VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    settled_at BIGINT,
    PRIMARY KEY (endpoint_id, event_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX deliveries_due ON deliveries (endpoint_id, status, due_at, event_id);

CREATE INDEX deliveries_due_set ON deliveries (endpoint_id, status, due_set_at, event_id);

CREATE TABLE delivery_attempts (
    endpoint_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    status BIGINT,
    error VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    PRIMARY KEY (endpoint_id, event_id, number)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
