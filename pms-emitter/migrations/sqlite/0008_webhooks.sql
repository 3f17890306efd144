-- Endpoints that people make, which the API calls webhooks. The environment's has no settings: its columns say all.
-- settings: what was chosen, as JSON; the columns beside it are what queries need of it.
ALTER TABLE endpoints ADD COLUMN settings TEXT;

-- Which payloads it gets, as JSON; NULL: all.
ALTER TABLE endpoints ADD COLUMN filter TEXT;

-- Nothing is sent, and events are queued on.
ALTER TABLE endpoints ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;

-- Counts every change by a person, of its secrets too.
ALTER TABLE endpoints ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

ALTER TABLE endpoints ADD COLUMN created_by TEXT;

-- How many secrets were ever made for it: the last one's number.
ALTER TABLE endpoints ADD COLUMN secrets_made INTEGER NOT NULL DEFAULT 0;

-- A deleted one stays as a row: its id stays used. While it is cancelling, what waits for it is ended.
ALTER TABLE endpoints ADD COLUMN deleted_at INTEGER;

ALTER TABLE endpoints ADD COLUMN cancelling INTEGER NOT NULL DEFAULT 0;

-- Those that are sent to are looked through often, and deleted ones may be many.
CREATE INDEX endpoints_deleted ON endpoints (deleted_at, id);

CREATE INDEX endpoints_cancelling ON endpoints (cancelling, id);

CREATE INDEX endpoints_updated ON endpoints (updated_at);

-- The secrets of endpoints, encrypted, each for its own row. It is valid from valid_since on, and no more at valid_until.
CREATE TABLE endpoint_secrets (
    id TEXT NOT NULL PRIMARY KEY,
    endpoint_id TEXT NOT NULL,
    -- Its number among those of its endpoint, never given again.
    n INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    valid_since INTEGER NOT NULL,
    valid_until INTEGER,
    UNIQUE (endpoint_id, n)
) STRICT, WITHOUT ROWID;

-- The headers that an endpoint gets beside ours: an object as JSON, encrypted; and their names, separated by commas. The id is
-- the endpoint's.
CREATE TABLE endpoint_headers (
    id TEXT NOT NULL PRIMARY KEY,
    names TEXT NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
