-- What the migration runner itself needs. Made outside of the numbered migrations, by the process that comes first.
CREATE TABLE IF NOT EXISTS leases (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT,
    lease_until INTEGER,
    epoch INTEGER NOT NULL,
    -- Counts the writes made under the lease: a write that changes nothing would not be seen by another cluster node.
    fences INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS schema_migrations (
    scope TEXT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    -- Statements of this migration that are done.
    steps INTEGER NOT NULL,
    -- NULL while it is being applied.
    applied_at INTEGER,
    PRIMARY KEY (scope, number)
) STRICT, WITHOUT ROWID;
