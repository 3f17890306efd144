-- What became of events, one row for each transaction, for the live stream. seq is its place there, given after the commit.
CREATE TABLE stream_batches (
    id INTEGER PRIMARY KEY,
    seq INTEGER UNIQUE,
    -- By which it is purged, once it has its place.
    created_at INTEGER NOT NULL,
    -- JSON: the ids of the events that were received, and of those that were decided by their status.
    changes TEXT NOT NULL
) STRICT;

CREATE INDEX stream_batches_created ON stream_batches (created_at);
