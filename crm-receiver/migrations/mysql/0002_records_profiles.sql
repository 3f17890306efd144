-- The latest known state of each entity of each source. Version 0 is a row that only holds the lock: of an entity that
-- is being received for the first time, or of an erased guest.
CREATE TABLE records (
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    entity_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Raised by every transaction that looks at the row in order to change it: so one waits for the other.
    revision BIGINT NOT NULL,
    version BIGINT NOT NULL,
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
    digest VARBINARY(32),
    deleted BIGINT NOT NULL,
    occurred_at BIGINT NOT NULL,
    type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    -- Our id of the event that carried the state.
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    state LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    PRIMARY KEY (source_id, kind, entity_id)
) ENGINE = InnoDB;

-- The guests that a reservation names, as its standing state says.
CREATE TABLE record_refs (
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reservation_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    guest_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (source_id, reservation_id, guest_id),
    KEY record_refs_guest (source_id, guest_id)
) ENGINE = InnoDB;

-- What was received for a record: one row for each event about it, without anything of its payload but consent.
CREATE TABLE timeline (
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    entity_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version BIGINT NOT NULL,
    occurred_at BIGINT NOT NULL,
    type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
    changed LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    consents LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    KEY timeline_record (source_id, kind, entity_id)
) ENGINE = InnoDB;

-- One row for each guest that a record or a reservation ever named. Without a status there is nothing to show.
CREATE TABLE profiles (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    -- Raised by every transaction that derives the profile again: so one waits for the other.
    revision BIGINT NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
    -- The latest commit among its records.
    updated_at BIGINT NOT NULL,
    sort_name VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- Of its terms and properties: they are written again only when it changes.
    index_digest VARBINARY(32),
    -- What lists show, and the whole.
    summary LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    body LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    KEY profiles_updated (updated_at, id),
    KEY profiles_name (sort_name, id)
) ENGINE = InnoDB;

-- The properties of a profile's records.
CREATE TABLE profile_properties (
    profile_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (profile_id, property_id),
    KEY profile_properties_property (property_id)
) ENGINE = InnoDB;

-- The folded terms under which a profile is found: by equality, names by their beginning too.
CREATE TABLE profile_terms (
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    term VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    profile_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (kind, term, profile_id),
    KEY profile_terms_profile (profile_id)
) ENGINE = InnoDB;
