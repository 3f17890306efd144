-- From now on rate_window begins a third of a quarter of an hour. These are the attempts of the third before it and of the one before
-- that, and those of them that failed.
ALTER TABLE endpoints ADD COLUMN rate_attempts_1 BIGINT NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_attempts_2 BIGINT NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_failed_1 BIGINT NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_failed_2 BIGINT NOT NULL DEFAULT 0;
