-- For how long nothing authentic of a source may come before it counts as silent, none: for ever; and when something last came.
ALTER TABLE sources ADD COLUMN silent_after_seconds INTEGER;
ALTER TABLE sources ADD COLUMN last_seen_at INTEGER;

-- What became of a source's deliveries, counted by hour and cause. The hour is in Unix milliseconds of its beginning.
CREATE TABLE source_counts (
    source_id TEXT NOT NULL,
    hour INTEGER NOT NULL,
    kind TEXT NOT NULL,
    cause TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (source_id, hour, kind, cause)
) STRICT, WITHOUT ROWID;

-- What is too old is found by it.
CREATE INDEX source_counts_hour ON source_counts (hour);
