-- One value, encrypted under the master key: a key that does not open it is not that of these tables.
CREATE TABLE master_key_check (
    id TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
);
