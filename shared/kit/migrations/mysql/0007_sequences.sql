-- The last place that was given in each table whose rows get their places after their commit.
CREATE TABLE sequences (
    name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    last_seq BIGINT NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB;
