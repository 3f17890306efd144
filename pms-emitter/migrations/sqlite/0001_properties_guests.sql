-- The hotels. Every other row belongs to one.
CREATE TABLE properties (
    id TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    -- Written by rules that rest on this row (its business date); makes no version.
    guard INTEGER NOT NULL,
    name TEXT NOT NULL,
    timezone TEXT NOT NULL,
    currency TEXT NOT NULL,
    -- A local date, YYYY-MM-DD. NULL only in the default property of a fresh database, until the first start.
    business_date TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The property that input without one means.
INSERT INTO properties (id, version, guard, name, timezone, currency, business_date, created_at, updated_at)
VALUES ('MAIN', 1, 0, 'Main', 'UTC', 'EUR', NULL, 0, 0);

-- Guest records. The body is the truth of what a client set; the columns beside it are for searching.
CREATE TABLE guests (
    id TEXT NOT NULL PRIMARY KEY,
    property_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    -- Written by rules that rest on this row (guest is active); makes no version and no event.
    guard INTEGER NOT NULL,
    status TEXT NOT NULL,
    merged_into TEXT,
    -- Folded: searched by prefix, sorted by.
    last_name_folded TEXT NOT NULL,
    -- In lower case.
    email TEXT,
    phone TEXT,
    vip_level INTEGER,
    blacklisted INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX guests_created ON guests (created_at, id);
CREATE INDEX guests_updated ON guests (updated_at, id);
CREATE INDEX guests_last_name ON guests (last_name_folded, id);
CREATE INDEX guests_email ON guests (email);
CREATE INDEX guests_phone ON guests (phone);

-- A guest's ids in other systems, unique per property and system. A deleted guest has none here.
CREATE TABLE guest_external_ids (
    property_id TEXT NOT NULL,
    system_name TEXT NOT NULL,
    external_id TEXT NOT NULL,
    guest_id TEXT NOT NULL,
    PRIMARY KEY (system_name, external_id, property_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX guest_external_ids_guest ON guest_external_ids (guest_id);
