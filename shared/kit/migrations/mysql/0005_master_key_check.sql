-- One value, encrypted under the master key: a key that does not open it is not that of these tables.
CREATE TABLE master_key_check (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    sealed VARBINARY(255) NOT NULL
) ENGINE = InnoDB;
