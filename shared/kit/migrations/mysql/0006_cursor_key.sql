-- The key under which cursors of lists are encrypted, the same for every replica. It protects what these tables hold, and no more.
CREATE TABLE cursor_key (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    secret VARBINARY(32) NOT NULL
) ENGINE = InnoDB;
