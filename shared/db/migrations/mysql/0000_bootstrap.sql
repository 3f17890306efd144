-- What the migration runner itself needs. Made outside of the numbered migrations, by the process that comes first.
CREATE TABLE IF NOT EXISTS leases (
    name VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    owner VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    lease_until BIGINT NULL,
    epoch BIGINT NOT NULL,
    -- Counts the writes made under the lease: a write that changes nothing would not be seen by another cluster node.
    fences BIGINT NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS schema_migrations (
    scope VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    number INT NOT NULL,
    name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Statements of this migration that are done.
    steps INT NOT NULL,
    -- NULL while it is being applied.
    applied_at BIGINT NULL,
    PRIMARY KEY (scope, number)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
