-- How far what is here was compared with the feed of a source. It is written in no other way than with what was taken in before: so a
-- backup has both, or neither.
CREATE TABLE reconciliations (
    source_id TEXT NOT NULL PRIMARY KEY,
    -- Every event of the feed up to this place is here, or is in missing_events.
    complete_up_to INTEGER NOT NULL,
    -- Of the event that has this place; NULL when it is not known.
    mark TEXT,
    -- The last place of the feed when it was last read.
    feed_head INTEGER NOT NULL,
    -- When it was last read to its end.
    checked_at INTEGER,
    -- When the next run is due.
    due_at INTEGER NOT NULL,
    -- When the feed was last found to be another one, so that it was read from its beginning.
    began_again_at INTEGER,
    -- Missing events beyond those that are named, and how many of them are past retention.
    not_named INTEGER NOT NULL,
    past_retention_not_named INTEGER NOT NULL
) STRICT;

-- Events of the feed that are not here and could not be taken in, each with the reason.
CREATE TABLE missing_events (
    source_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    feed_seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    property_id TEXT,
    committed_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    found_at INTEGER NOT NULL,
    -- When it was last tried to take it in.
    tried_at INTEGER NOT NULL,
    PRIMARY KEY (source_id, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX missing_events_place ON missing_events (source_id, feed_seq);

CREATE INDEX missing_events_tried ON missing_events (source_id, tried_at);
