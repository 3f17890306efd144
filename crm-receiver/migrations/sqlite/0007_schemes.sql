-- Of each source the key for the digests of bodies without an id, encrypted for its row. It never changes.
CREATE TABLE source_digest_keys (
    -- The source's.
    id TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The sender's name for one delivery, which nobody signed.
ALTER TABLE inbox ADD COLUMN delivery_id TEXT;
