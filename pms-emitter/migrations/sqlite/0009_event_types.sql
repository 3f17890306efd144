-- The types of events that others may publish, beside those that come with the program. version counts the changes of one;
-- revision is another text after each of them, also when a deleted one is made again.
CREATE TABLE event_types (
    type TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    revision TEXT NOT NULL,
    category TEXT,
    description TEXT,
    payload_schema TEXT,
    example TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- How many there are: who makes or deletes one writes this row, so that the bound holds exactly.
CREATE TABLE event_type_count (
    id TEXT NOT NULL PRIMARY KEY,
    types INTEGER NOT NULL
) STRICT;

INSERT INTO event_type_count (id, types) VALUES ('all', 0);

-- The last version of each entity of published events. entity is the property, the kind and the id, with slashes between them.
CREATE TABLE entity_versions (
    entity TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The log of events again, in which an entity of others is one of its property: SQLite cannot change a table's unique key.
-- content_digest tells a repeat of a published event from another one with its id.
CREATE TABLE events_of_properties (
    id TEXT NOT NULL PRIMARY KEY,
    feed_seq INTEGER UNIQUE,
    type TEXT NOT NULL,
    property_id TEXT,
    entity_kind TEXT,
    entity_id TEXT,
    entity_version INTEGER,
    correlation_id TEXT,
    traceparent TEXT,
    committed_at INTEGER NOT NULL,
    changed TEXT NOT NULL,
    content_digest BLOB,
    UNIQUE (entity_kind, entity_id, entity_version, property_id)
) STRICT, WITHOUT ROWID;

INSERT INTO events_of_properties (id, feed_seq, type, property_id, entity_kind, entity_id, entity_version, correlation_id,
        traceparent, committed_at, changed)
    SELECT id, feed_seq, type, property_id, entity_kind, entity_id, entity_version, correlation_id, traceparent, committed_at,
        changed
    FROM events;

DROP TABLE events;

ALTER TABLE events_of_properties RENAME TO events;
