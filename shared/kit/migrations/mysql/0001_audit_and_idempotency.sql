-- One row per effect, in the transaction of that effect. seq is its place in the log, given after the commit.
CREATE TABLE audit_entries (
    id BIGINT NOT NULL AUTO_INCREMENT,
    seq BIGINT NULL,
    at BIGINT NOT NULL,
    action VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    outcome VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    actor VARCHAR(128) NULL,
    source VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    property_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    entity_kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    entity_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    entity_version BIGINT NULL,
    -- A JSON list of the names of changed fields; never their values.
    changed LONGTEXT NULL,
    correlation_id VARCHAR(128) NULL,
    request_id VARCHAR(128) NULL,
    PRIMARY KEY (id),
    UNIQUE KEY audit_entries_seq (seq),
    KEY audit_entries_event (event_id),
    KEY audit_entries_entity (entity_kind, entity_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Duplicates and rejects, counted per minute and cause, so that no flood of them fills the disk.
CREATE TABLE audit_counts (
    -- Unix milliseconds of the minute's beginning.
    minute BIGINT NOT NULL,
    kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    cause VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (minute, kind, cause)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The answer to a request with an Idempotency-Key, written in the commit that it describes.
CREATE TABLE idempotency (
    principal VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    method VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    route VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    idempotency_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    fingerprint VARBINARY(64) NOT NULL,
    status INT NULL,
    location VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NULL,
    etag VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    entity_kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
    entity_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    body MEDIUMBLOB NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (principal, method, route, idempotency_key),
    KEY idempotency_expires (expires_at),
    -- Erasing a person finds the answers that show it.
    KEY idempotency_entity (entity_kind, entity_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
