-- Attempts that an endpoint gets in a minute, over all processes; NULL: any number.
ALTER TABLE endpoints ADD COLUMN rate_limit INTEGER;

-- The minute that counts now: when it began, and how many were claimed in it.
ALTER TABLE endpoints ADD COLUMN rate_since INTEGER NOT NULL DEFAULT 0;

ALTER TABLE endpoints ADD COLUMN rate_used INTEGER NOT NULL DEFAULT 0;
