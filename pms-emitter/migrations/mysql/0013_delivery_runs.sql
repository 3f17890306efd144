-- Runs that have deliveries of one webhook made again: who asked for what, and how far each is.
CREATE TABLE delivery_runs (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    endpoint_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- recover: what died in the span; replay: events that match, by when they were committed.
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- running, finished or cancelled.
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    begins_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    -- JSON: what a payload must have beside.
    filter LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    created_by VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    ended_at BIGINT,
    -- Those that fit; of these, made due; and without a body.
    matched BIGINT NOT NULL,
    queued BIGINT NOT NULL,
    without_body BIGINT NOT NULL,
    -- Everything up to here was looked at: due_at and id of what is dead, or a place in the feed. The run ends behind last_place_max.
    last_place BIGINT NOT NULL,
    last_event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    last_place_max BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX delivery_runs_status ON delivery_runs (status, created_at, id);

-- What runs have made due and may still wait: a few hundred at most for each.
CREATE TABLE delivery_run_waiting (
    run_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (run_id, event_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
