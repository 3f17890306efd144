-- What is chosen for a source. A deleted one stays as a row: records and idempotency keys hang on its id.
ALTER TABLE sources ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE sources ADD COLUMN folds INTEGER NOT NULL DEFAULT 0;
-- JSON: "*" or a list of properties; a list of networks, empty for any.
ALTER TABLE sources ADD COLUMN property_ids TEXT NOT NULL DEFAULT '"*"';
ALTER TABLE sources ADD COLUMN allowed_networks TEXT NOT NULL DEFAULT '[]';
-- How many secrets were ever made for it: the last one's number.
ALTER TABLE sources ADD COLUMN secrets_made INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sources ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sources ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sources ADD COLUMN deleted_at INTEGER;

UPDATE sources SET name = 'PMS', folds = 1 WHERE id = 'pms';

-- The secrets of sources, encrypted, each for its own row. It is valid from valid_since on, and no more at valid_until.
CREATE TABLE source_secrets (
    id TEXT NOT NULL PRIMARY KEY,
    source_id TEXT NOT NULL,
    -- Its number among those of its source, never given again.
    n INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    valid_since INTEGER NOT NULL,
    valid_until INTEGER,
    last_used_at INTEGER,
    UNIQUE (source_id, n)
) STRICT, WITHOUT ROWID;

-- At most one row, counted up by every change of sources and secrets, by which other replicas see that there was one.
CREATE TABLE sources_revision (
    id TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
