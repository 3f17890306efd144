-- When heartbeat_at was set: one that lies ahead says that the clock was set back, and the wait is over.
ALTER TABLE endpoints ADD COLUMN heartbeat_set_at BIGINT NOT NULL DEFAULT 0;
