-- Stored rows that are made again by a newer program while it serves: how far it is.
CREATE TABLE rebuilds (
    name TEXT NOT NULL PRIMARY KEY,
    -- Which making of them this is.
    version INTEGER NOT NULL,
    -- Everything up to here is made again.
    position TEXT NOT NULL,
    finished INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
