-- What became of events, one row for each transaction, for the live stream. seq is its place there, given after the commit.
CREATE TABLE stream_batches (
    id BIGINT NOT NULL AUTO_INCREMENT,
    seq BIGINT NULL,
    -- By which it is purged, once it has its place.
    created_at BIGINT NOT NULL,
    -- JSON: the ids of the events that were received, and of those that were decided by their status.
    changes MEDIUMTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY stream_batches_seq (seq),
    KEY stream_batches_created (created_at)
) ENGINE = InnoDB;
