-- The last place that was given in each table whose rows get their places after their commit.
CREATE TABLE sequences (
    name TEXT NOT NULL PRIMARY KEY,
    last_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
