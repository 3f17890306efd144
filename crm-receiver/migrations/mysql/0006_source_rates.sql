-- How many authentic deliveries of a source are taken in a minute; none: without limit.
ALTER TABLE sources ADD COLUMN rate_limit BIGINT NULL;

-- What replicas have drawn of a source's rate in a window, in Unix milliseconds of its beginning.
CREATE TABLE source_windows (
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    began_at BIGINT NOT NULL,
    drawn BIGINT NOT NULL,
    PRIMARY KEY (source_id, began_at)
) ENGINE = InnoDB;
