-- The key under which cursors of lists are encrypted, the same for every replica. It protects what these tables hold, and no more.
CREATE TABLE cursor_key (
    id TEXT NOT NULL PRIMARY KEY,
    secret BLOB NOT NULL
);
