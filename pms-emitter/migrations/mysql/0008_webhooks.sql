-- Endpoints that people make, which the API calls webhooks. The environment's has no settings: its columns say all.
-- settings: what was chosen, as JSON; the columns beside it are what queries need of it.
ALTER TABLE endpoints ADD COLUMN settings LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which payloads it gets, as JSON; NULL: all.
ALTER TABLE endpoints ADD COLUMN filter LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Nothing is sent, and events are queued on.
ALTER TABLE endpoints ADD COLUMN paused BIGINT NOT NULL DEFAULT 0;

-- Counts every change by a person, of its secrets too.
ALTER TABLE endpoints ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

ALTER TABLE endpoints ADD COLUMN created_by VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How many secrets were ever made for it: the last one's number.
ALTER TABLE endpoints ADD COLUMN secrets_made BIGINT NOT NULL DEFAULT 0;

-- A deleted one stays as a row: its id stays used. While it is cancelling, what waits for it is ended.
ALTER TABLE endpoints ADD COLUMN deleted_at BIGINT;

ALTER TABLE endpoints ADD COLUMN cancelling BIGINT NOT NULL DEFAULT 0;

-- Those that are sent to are looked through often, and deleted ones may be many.
CREATE INDEX endpoints_deleted ON endpoints (deleted_at, id);

CREATE INDEX endpoints_cancelling ON endpoints (cancelling, id);

CREATE INDEX endpoints_updated ON endpoints (updated_at);

-- The secrets of endpoints, encrypted, each for its own row. It is valid from valid_since on, and no more at valid_until.
CREATE TABLE endpoint_secrets (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    endpoint_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Its number among those of its endpoint, never given again.
    n BIGINT NOT NULL,
    sealed VARBINARY(1024) NOT NULL,
    valid_since BIGINT NOT NULL,
    valid_until BIGINT,
    UNIQUE KEY endpoint_secrets_n (endpoint_id, n)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The headers that an endpoint gets beside ours: an object as JSON, encrypted; and their names, separated by commas. The id is
-- the endpoint's.
CREATE TABLE endpoint_headers (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    names VARCHAR(4096) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sealed MEDIUMBLOB NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
