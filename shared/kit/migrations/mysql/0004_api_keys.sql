-- An API key. A deleted one stays as a row without use, so that "none was ever made" is a question to this table.
CREATE TABLE api_keys (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- SHA-256 of the key, which is shown once and kept nowhere.
    digest VARBINARY(32) NOT NULL,
    -- Its first characters, for people.
    hint VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name VARCHAR(128) NOT NULL,
    -- JSON: a list of permissions; "*" or a list of parts; a list of networks, empty for any.
    permissions LONGTEXT NOT NULL,
    scope LONGTEXT NOT NULL,
    allowed_networks LONGTEXT NOT NULL,
    expires_at BIGINT NULL,
    active BIGINT NOT NULL,
    rate_limit BIGINT NOT NULL,
    -- Seconds.
    rate_window BIGINT NOT NULL,
    created_by VARCHAR(128) NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT NULL,
    last_used_at BIGINT NULL,
    usage_count BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY api_keys_digest (digest)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What replicas have drawn of a key's limit in a window, in Unix milliseconds of its beginning.
CREATE TABLE api_key_windows (
    key_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    began_at BIGINT NOT NULL,
    drawn BIGINT NOT NULL,
    PRIMARY KEY (key_id, began_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What a key asked for in a day, in Unix milliseconds of its beginning.
CREATE TABLE api_key_usage (
    key_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    day BIGINT NOT NULL,
    -- Method and pattern.
    endpoint VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    requests BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    -- Microseconds, of all of them together.
    duration BIGINT NOT NULL,
    PRIMARY KEY (key_id, day, endpoint)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
