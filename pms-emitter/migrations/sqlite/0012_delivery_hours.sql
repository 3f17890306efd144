-- Attempts by webhook, hour and type of event, counted as they are settled: statistics read this table alone. took_...: how many
-- took at most so many milliseconds, and longer than the column before.
CREATE TABLE delivery_hours (
    endpoint_id TEXT NOT NULL,
    hour INTEGER NOT NULL,
    type TEXT NOT NULL,
    delivered INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    took_10 INTEGER NOT NULL,
    took_25 INTEGER NOT NULL,
    took_50 INTEGER NOT NULL,
    took_100 INTEGER NOT NULL,
    took_250 INTEGER NOT NULL,
    took_500 INTEGER NOT NULL,
    took_1000 INTEGER NOT NULL,
    took_2500 INTEGER NOT NULL,
    took_5000 INTEGER NOT NULL,
    took_10000 INTEGER NOT NULL,
    took_30000 INTEGER NOT NULL,
    took_longer INTEGER NOT NULL,
    PRIMARY KEY (endpoint_id, hour, type)
) STRICT, WITHOUT ROWID;
