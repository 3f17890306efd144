-- How long an endpoint has been failing: since its first failure after its last success, and in how many different hours.
-- failing_level is the share of the time after which it is stopped, in percent, that was last said. notices counts the events
-- about the endpoint itself.
ALTER TABLE endpoints ADD COLUMN failing_since INTEGER;

ALTER TABLE endpoints ADD COLUMN failing_hour INTEGER;

ALTER TABLE endpoints ADD COLUMN failing_hours INTEGER NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN failing_level INTEGER NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN notices INTEGER NOT NULL DEFAULT 0;

-- When it gets the next ping, NULL when it gets none.
ALTER TABLE endpoints ADD COLUMN heartbeat_at INTEGER;

-- Attempts in the quarter of an hour that begins at rate_window, and those of them that failed. rate_alarm: it was said that
-- too many do.
ALTER TABLE endpoints ADD COLUMN rate_window INTEGER NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_attempts INTEGER NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_failed INTEGER NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_alarm INTEGER NOT NULL DEFAULT 0;
