-- How many authentic deliveries of a source are taken in a minute; none: without limit.
ALTER TABLE sources ADD COLUMN rate_limit INTEGER;

-- What replicas have drawn of a source's rate in a window, in Unix milliseconds of its beginning.
CREATE TABLE source_windows (
    source_id TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    drawn INTEGER NOT NULL,
    PRIMARY KEY (source_id, began_at)
) STRICT, WITHOUT ROWID;
