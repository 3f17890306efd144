-- A sample of the deliveries that were refused: nothing of their headers and bodies.
CREATE TABLE rejections (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    -- The source of the path, or unknown.
    source VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    cause VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The sender's clock minus ours, where that was the cause.
    skew_seconds BIGINT NULL,
    -- The network from which it came, a /24 or a /48.
    address VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    KEY rejections_at (at, id),
    KEY rejections_source (source)
) ENGINE = InnoDB;
