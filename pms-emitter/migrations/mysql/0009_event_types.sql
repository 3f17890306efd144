-- The types of events that others may publish, beside those that come with the program. version counts the changes of one;
-- revision is another text after each of them, also when a deleted one is made again.
CREATE TABLE event_types (
    type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    revision VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    category VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    description LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    payload_schema LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    example LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How many there are: who makes or deletes one writes this row, so that the bound holds exactly.
CREATE TABLE event_type_count (
    id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    types BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO event_type_count (id, types) VALUES ('all', 0);

-- The last version of each entity of published events. entity is the property, the kind and the id, with slashes between them.
CREATE TABLE entity_versions (
    entity VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- An entity of others is one of its property. content_digest tells a repeat of a published event from another one with its id.
ALTER TABLE events
    ADD COLUMN content_digest VARBINARY(48),
    DROP INDEX entity_kind,
    ADD UNIQUE INDEX events_entity (entity_kind, entity_id, entity_version, property_id);
