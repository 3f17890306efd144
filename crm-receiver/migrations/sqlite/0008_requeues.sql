-- When it was last given back to the projector as a dead letter. A run that began before passes it over.
ALTER TABLE inbox ADD COLUMN requeued_at INTEGER;

-- Runs that give dead letters back to the projector: who asked for what, and how far each is.
CREATE TABLE requeues (
    id TEXT NOT NULL PRIMARY KEY,
    -- running, finished or cancelled.
    status TEXT NOT NULL,
    -- JSON: what an event must have, and "*" or a list of the properties that the one who began the run sees.
    filter TEXT NOT NULL,
    scope TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER,
    requeued INTEGER NOT NULL,
    -- Dead letters that fit and have no body any more.
    skipped INTEGER NOT NULL,
    -- Everything up to here, in the order of inbox_due, was looked at; the run ends behind due_at_max.
    last_due_at INTEGER NOT NULL,
    last_event_id TEXT NOT NULL,
    due_at_max INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX requeues_created ON requeues (created_at, id);

CREATE INDEX requeues_status ON requeues (status, created_at, id);

-- The properties of a run that does not see everything: who sees all of them sees the run.
CREATE TABLE requeue_properties (
    requeue_id TEXT NOT NULL,
    property_id TEXT NOT NULL,
    PRIMARY KEY (requeue_id, property_id)
) STRICT, WITHOUT ROWID;

-- Events of all runs, also of those that have ended, that may wait for the projector: a few hundred at most.
CREATE TABLE requeued_waiting (
    event_id TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
