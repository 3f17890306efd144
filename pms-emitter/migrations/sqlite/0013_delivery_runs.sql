-- Runs that have deliveries of one webhook made again: who asked for what, and how far each is.
CREATE TABLE delivery_runs (
    id TEXT NOT NULL PRIMARY KEY,
    endpoint_id TEXT NOT NULL,
    -- recover: what died in the span; replay: events that match, by when they were committed.
    kind TEXT NOT NULL,
    -- running, finished or cancelled.
    status TEXT NOT NULL,
    begins_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    -- JSON: what a payload must have beside.
    filter TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER,
    -- Those that fit; of these, made due; and without a body.
    matched INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    without_body INTEGER NOT NULL,
    -- Everything up to here was looked at: due_at and id of what is dead, or a place in the feed. The run ends behind last_place_max.
    last_place INTEGER NOT NULL,
    last_event_id TEXT NOT NULL,
    last_place_max INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_runs_status ON delivery_runs (status, created_at, id);

-- What runs have made due and may still wait: a few hundred at most for each.
CREATE TABLE delivery_run_waiting (
    run_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (run_id, event_id)
) STRICT, WITHOUT ROWID;
