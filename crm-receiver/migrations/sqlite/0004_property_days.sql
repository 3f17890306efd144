-- The newest business date that the events of a property say, with the zone that they say with it, or ''.
CREATE TABLE property_days (
    property_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    business_date TEXT NOT NULL,
    timezone TEXT NOT NULL,
    PRIMARY KEY (property_id, source_id)
) STRICT, WITHOUT ROWID;
