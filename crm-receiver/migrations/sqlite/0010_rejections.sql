-- A sample of the deliveries that were refused: nothing of their headers and bodies.
CREATE TABLE rejections (
    id TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    -- The source of the path, or unknown.
    source TEXT NOT NULL,
    cause TEXT NOT NULL,
    -- The sender's clock minus ours, where that was the cause.
    skew_seconds INTEGER,
    -- The network from which it came, a /24 or a /48.
    address TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX rejections_at ON rejections (at, id);

CREATE INDEX rejections_source ON rejections (source);
