-- Attempts by webhook, hour and type of event, counted as they are settled: statistics read this table alone. took_...: how many
-- took at most so many milliseconds, and longer than the column before.
CREATE TABLE delivery_hours (
    endpoint_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    hour BIGINT NOT NULL,
    type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    delivered BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    took_10 BIGINT NOT NULL,
    took_25 BIGINT NOT NULL,
    took_50 BIGINT NOT NULL,
    took_100 BIGINT NOT NULL,
    took_250 BIGINT NOT NULL,
    took_500 BIGINT NOT NULL,
    took_1000 BIGINT NOT NULL,
    took_2500 BIGINT NOT NULL,
    took_5000 BIGINT NOT NULL,
    took_10000 BIGINT NOT NULL,
    took_30000 BIGINT NOT NULL,
    took_longer BIGINT NOT NULL,
    PRIMARY KEY (endpoint_id, hour, type)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
