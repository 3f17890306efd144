-- Stored rows that are made again by a newer program while it serves: how far it is.
CREATE TABLE rebuilds (
    name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Which making of them this is.
    version BIGINT NOT NULL,
    -- Everything up to here is made again.
    position VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    finished BIGINT NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB;
