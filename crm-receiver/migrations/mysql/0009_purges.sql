-- At most one row: when a purge was last at its end, at any replica.
CREATE TABLE purges (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    finished_at BIGINT NOT NULL
) ENGINE = InnoDB;
