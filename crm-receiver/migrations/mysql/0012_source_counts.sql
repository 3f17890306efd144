-- For how long nothing authentic of a source may come before it counts as silent, none: for ever; and when something last came.
ALTER TABLE sources
    ADD COLUMN silent_after_seconds BIGINT NULL,
    ADD COLUMN last_seen_at BIGINT NULL;

-- What became of a source's deliveries, counted by hour and cause. The hour is in Unix milliseconds of its beginning.
CREATE TABLE source_counts (
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    hour BIGINT NOT NULL,
    kind VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    cause VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (source_id, hour, kind, cause),
    -- What is too old is found by it.
    KEY source_counts_hour (hour)
) ENGINE = InnoDB;
