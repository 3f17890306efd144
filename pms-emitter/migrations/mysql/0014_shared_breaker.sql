-- The breaker of an endpoint, over all processes. breaker_until: while it is open, when a probe may go out; while it is half-open,
-- when the claim of the probe ends. breaker_since is when that was set: one that lies ahead says that the clock was set back.
ALTER TABLE endpoints ADD COLUMN breaker_until BIGINT NOT NULL DEFAULT 0;

-- Open periods since it was last closed: each is twice as long as the one before it.
ALTER TABLE endpoints ADD COLUMN breaker_openings BIGINT NOT NULL DEFAULT 0;

-- Counts every change of the breaker and every claim of its probe: the fence of what is written about it.
ALTER TABLE endpoints ADD COLUMN breaker_epoch BIGINT NOT NULL DEFAULT 0;

-- The claim that has the probe.
ALTER TABLE endpoints ADD COLUMN probe_owner VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin;
