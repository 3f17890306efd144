-- The hotels. Every other row belongs to one.
CREATE TABLE properties (
    id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    -- Written by rules that rest on this row (its business date); makes no version.
    guard BIGINT NOT NULL,
    name VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    timezone VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    currency VARCHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- A local date, YYYY-MM-DD. NULL only in the default property of a fresh database, until the first start.
    business_date VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) ENGINE = InnoDB;

-- The property that input without one means.
INSERT INTO properties (id, version, guard, name, timezone, currency, business_date, created_at, updated_at)
VALUES ('MAIN', 1, 0, 'Main', 'UTC', 'EUR', NULL, 0, 0);

-- Guest records. The body is the truth of what a client set; the columns beside it are for searching.
CREATE TABLE guests (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version BIGINT NOT NULL,
    -- Written by rules that rest on this row (guest is active); makes no version and no event.
    guard BIGINT NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    merged_into VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    -- Folded: searched by prefix, sorted by.
    last_name_folded VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- In lower case.
    email VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    phone VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
    vip_level BIGINT,
    blacklisted BIGINT NOT NULL,
    body LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    KEY guests_created (created_at, id),
    KEY guests_updated (updated_at, id),
    KEY guests_last_name (last_name_folded, id),
    KEY guests_email (email),
    KEY guests_phone (phone)
) ENGINE = InnoDB;

-- A guest's ids in other systems, unique per property and system. A deleted guest has none here.
CREATE TABLE guest_external_ids (
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    system_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    external_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    guest_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (system_name, external_id, property_id),
    KEY guest_external_ids_guest (guest_id)
) ENGINE = InnoDB;
