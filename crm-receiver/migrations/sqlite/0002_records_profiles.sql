-- The latest known state of each entity of each source. Version 0 is a row that only holds the lock: of an entity that
-- is being received for the first time, or of an erased guest.
CREATE TABLE records (
    source_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    -- Raised by every transaction that looks at the row in order to change it: so one waits for the other.
    revision INTEGER NOT NULL,
    version INTEGER NOT NULL,
    property_id TEXT,
    digest BLOB,
    deleted INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    type TEXT,
    -- Our id of the event that carried the state.
    event_id TEXT,
    state TEXT,
    PRIMARY KEY (source_id, kind, entity_id)
) STRICT;

-- The guests that a reservation names, as its standing state says.
CREATE TABLE record_refs (
    source_id TEXT NOT NULL,
    reservation_id TEXT NOT NULL,
    guest_id TEXT NOT NULL,
    PRIMARY KEY (source_id, reservation_id, guest_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX record_refs_guest ON record_refs (source_id, guest_id);

-- What was received for a record: one row for each event about it, without anything of its payload but consent.
CREATE TABLE timeline (
    event_id TEXT NOT NULL PRIMARY KEY,
    source_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    type TEXT NOT NULL,
    property_id TEXT,
    changed TEXT NOT NULL,
    consents TEXT NOT NULL
) STRICT;

CREATE INDEX timeline_record ON timeline (source_id, kind, entity_id);

-- One row for each guest that a record or a reservation ever named. Without a status there is nothing to show.
CREATE TABLE profiles (
    id TEXT NOT NULL PRIMARY KEY,
    -- Raised by every transaction that derives the profile again: so one waits for the other.
    revision INTEGER NOT NULL,
    status TEXT,
    -- The latest commit among its records.
    updated_at INTEGER NOT NULL,
    sort_name TEXT NOT NULL,
    -- Of its terms and properties: they are written again only when it changes.
    index_digest BLOB,
    -- What lists show, and the whole.
    summary TEXT,
    body TEXT
) STRICT;

CREATE INDEX profiles_updated ON profiles (updated_at, id);

CREATE INDEX profiles_name ON profiles (sort_name, id);

-- The properties of a profile's records.
CREATE TABLE profile_properties (
    profile_id TEXT NOT NULL,
    property_id TEXT NOT NULL,
    PRIMARY KEY (profile_id, property_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX profile_properties_property ON profile_properties (property_id);

-- The folded terms under which a profile is found: by equality, names by their beginning too.
CREATE TABLE profile_terms (
    kind TEXT NOT NULL,
    term TEXT NOT NULL,
    profile_id TEXT NOT NULL,
    PRIMARY KEY (kind, term, profile_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX profile_terms_profile ON profile_terms (profile_id);
