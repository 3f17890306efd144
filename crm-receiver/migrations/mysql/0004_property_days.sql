-- The newest business date that the events of a property say, with the zone that they say with it, or ''.
CREATE TABLE property_days (
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    business_date VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    timezone VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (property_id, source_id)
) ENGINE = InnoDB;
