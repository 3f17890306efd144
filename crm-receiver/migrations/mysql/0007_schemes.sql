-- Of each source the key for the digests of bodies without an id, encrypted for its row. It never changes.
CREATE TABLE source_digest_keys (
    -- The source's.
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    sealed VARBINARY(1024) NOT NULL
) ENGINE = InnoDB;

-- A preset's name, or a definition as JSON.
ALTER TABLE sources MODIFY COLUMN scheme VARCHAR(4096) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL;

-- The sender's name for one delivery, which nobody signed.
ALTER TABLE inbox ADD COLUMN delivery_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL;
