-- When the log is gone through once more after the endpoint was subscribed: a transaction that was open then may have
-- been committed without a delivery. NULL when it was, or is on its way.
ALTER TABLE endpoints ADD COLUMN backfill_again_at BIGINT;
