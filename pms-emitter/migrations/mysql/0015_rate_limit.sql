-- Attempts that an endpoint gets in a minute, over all processes; NULL: any number.
ALTER TABLE endpoints ADD COLUMN rate_limit BIGINT;

-- The minute that counts now: when it began, and how many were claimed in it.
ALTER TABLE endpoints ADD COLUMN rate_since BIGINT NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_used BIGINT NOT NULL DEFAULT 0;
