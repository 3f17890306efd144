-- At most one row: when a purge was last at its end, at any replica.
CREATE TABLE purges (
    id TEXT NOT NULL PRIMARY KEY,
    finished_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
