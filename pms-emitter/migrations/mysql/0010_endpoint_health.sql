-- How long an endpoint has been failing: since its first failure after its last success, and in how many different hours.
-- failing_level is the share of the time after which it is stopped, in percent, that was last said. notices counts the events
-- about the endpoint itself.
ALTER TABLE endpoints ADD COLUMN failing_since BIGINT;

ALTER TABLE endpoints ADD COLUMN failing_hour BIGINT;

ALTER TABLE endpoints ADD COLUMN failing_hours BIGINT NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN failing_level BIGINT NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN notices BIGINT NOT NULL DEFAULT 0;

-- When it gets the next ping, NULL when it gets none.
ALTER TABLE endpoints ADD COLUMN heartbeat_at BIGINT;

-- Attempts in the quarter of an hour that begins at rate_window, and those of them that failed. rate_alarm: it was said that
-- too many do.
ALTER TABLE endpoints ADD COLUMN rate_window BIGINT NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_attempts BIGINT NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_failed BIGINT NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_alarm BIGINT NOT NULL DEFAULT 0;
