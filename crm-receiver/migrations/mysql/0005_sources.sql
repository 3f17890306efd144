-- What is chosen for a source. A deleted one stays as a row: records and idempotency keys hang on its id.
ALTER TABLE sources
    ADD COLUMN name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    ADD COLUMN folds BIGINT NOT NULL DEFAULT 0,
    -- JSON: "*" or a list of properties; a list of networks, empty for any.
    ADD COLUMN property_ids VARCHAR(8192) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '"*"',
    ADD COLUMN allowed_networks VARCHAR(2048) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '[]',
    -- How many secrets were ever made for it: the last one's number.
    ADD COLUMN secrets_made BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN deleted_at BIGINT NULL;

UPDATE sources SET name = 'PMS', folds = 1 WHERE id = 'pms';

-- The secrets of sources, encrypted, each for its own row. It is valid from valid_since on, and no more at valid_until.
CREATE TABLE source_secrets (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Its number among those of its source, never given again.
    n BIGINT NOT NULL,
    sealed VARBINARY(1024) NOT NULL,
    valid_since BIGINT NOT NULL,
    valid_until BIGINT NULL,
    last_used_at BIGINT NULL,
    UNIQUE KEY source_secrets_n (source_id, n)
) ENGINE = InnoDB;

-- At most one row, counted up by every change of sources and secrets, by which other replicas see that there was one.
CREATE TABLE sources_revision (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
) ENGINE = InnoDB;
