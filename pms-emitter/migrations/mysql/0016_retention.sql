-- When a purge was last at its end, and up to which place of the feed events were gone through: what could go is gone, and what
-- could not is in unsettled_events.
CREATE TABLE purges (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    finished_at BIGINT NOT NULL,
    place BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO purges (id, finished_at, place) VALUES ('purge', 0, 0);

-- Events up to that place whose deliveries and bodies are still kept, since not all of them were settled long enough ago.
CREATE TABLE unsettled_events (
    feed_seq BIGINT NOT NULL PRIMARY KEY,
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
