-- When a purge was last at its end, and up to which place of the feed events were gone through: what could go is gone, and what
-- could not is in unsettled_events.
CREATE TABLE purges (
    id TEXT NOT NULL PRIMARY KEY,
    finished_at INTEGER NOT NULL,
    place INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO purges (id, finished_at, place) VALUES ('purge', 0, 0);

-- Events up to that place whose deliveries and bodies are still kept, since not all of them were settled long enough ago.
CREATE TABLE unsettled_events (
    feed_seq INTEGER NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL
) STRICT;
