-- When it was last given back to the projector as a dead letter. A run that began before passes it over.
ALTER TABLE inbox ADD COLUMN requeued_at BIGINT NULL;

-- Runs that give dead letters back to the projector: who asked for what, and how far each is.
CREATE TABLE requeues (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    -- running, finished or cancelled.
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- JSON: what an event must have, and "*" or a list of the properties that the one who began the run sees.
    filter LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    scope VARCHAR(8192) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_by VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    ended_at BIGINT NULL,
    requeued BIGINT NOT NULL,
    -- Dead letters that fit and have no body any more.
    skipped BIGINT NOT NULL,
    -- Everything up to here, in the order of inbox_due, was looked at; the run ends behind due_at_max.
    last_due_at BIGINT NOT NULL,
    last_event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    due_at_max BIGINT NOT NULL,
    KEY requeues_created (created_at, id),
    KEY requeues_status (status, created_at, id)
) ENGINE = InnoDB;

-- The properties of a run that does not see everything: who sees all of them sees the run.
CREATE TABLE requeue_properties (
    requeue_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    property_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (requeue_id, property_id)
) ENGINE = InnoDB;

-- Events of all runs, also of those that have ended, that may wait for the projector: a few hundred at most.
CREATE TABLE requeued_waiting (
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY
) ENGINE = InnoDB;
