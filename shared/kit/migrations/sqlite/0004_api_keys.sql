-- An API key. A deleted one stays as a row without use, so that "none was ever made" is a question to this table.
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the key, which is shown once and kept nowhere.
    digest BLOB NOT NULL,
    -- Its first characters, for people.
    hint TEXT NOT NULL,
    name TEXT NOT NULL,
    -- JSON: a list of permissions; "*" or a list of parts; a list of networks, empty for any.
    permissions TEXT NOT NULL,
    scope TEXT NOT NULL,
    allowed_networks TEXT NOT NULL,
    expires_at INTEGER,
    active INTEGER NOT NULL,
    rate_limit INTEGER NOT NULL,
    -- Seconds.
    rate_window INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    last_used_at INTEGER,
    usage_count INTEGER NOT NULL
);

CREATE UNIQUE INDEX api_keys_digest ON api_keys (digest);

-- What replicas have drawn of a key's limit in a window, in Unix milliseconds of its beginning.
CREATE TABLE api_key_windows (
    key_id TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    drawn INTEGER NOT NULL,
    PRIMARY KEY (key_id, began_at)
);

-- What a key asked for in a day, in Unix milliseconds of its beginning.
CREATE TABLE api_key_usage (
    key_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    -- Method and pattern.
    endpoint TEXT NOT NULL,
    requests INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    -- Microseconds, of all of them together.
    duration INTEGER NOT NULL,
    PRIMARY KEY (key_id, day, endpoint)
);
