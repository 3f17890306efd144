-- How far what is here was compared with the feed of a source. It is written in no other way than with what was taken in before: so a
-- backup has both, or neither.
CREATE TABLE reconciliations (
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    -- Every event of the feed up to this place is here, or is in missing_events.
    complete_up_to BIGINT NOT NULL,
    -- Of the event that has this place; NULL when it is not known.
    mark VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    -- The last place of the feed when it was last read.
    feed_head BIGINT NOT NULL,
    -- When it was last read to its end.
    checked_at BIGINT NULL,
    -- When the next run is due.
    due_at BIGINT NOT NULL,
    -- When the feed was last found to be another one, so that it was read from its beginning.
    began_again_at BIGINT NULL,
    -- Missing events beyond those that are named, and how many of them are past retention.
    not_named BIGINT NOT NULL,
    past_retention_not_named BIGINT NOT NULL
) ENGINE = InnoDB;

-- Events of the feed that are not here and could not be taken in, each with the reason.
CREATE TABLE missing_events (
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    idempotency_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    feed_seq BIGINT NOT NULL,
    type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
    committed_at BIGINT NOT NULL,
    reason VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    found_at BIGINT NOT NULL,
    -- When it was last tried to take it in.
    tried_at BIGINT NOT NULL,
    PRIMARY KEY (source_id, idempotency_key),
    KEY missing_events_place (source_id, feed_seq),
    KEY missing_events_tried (source_id, tried_at)
) ENGINE = InnoDB;
