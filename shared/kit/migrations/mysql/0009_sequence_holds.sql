-- Counts who kept places from being given while it decided where in a sequence something begins. It is a guard: nobody reads it.
ALTER TABLE sequences ADD COLUMN holds BIGINT NOT NULL DEFAULT 0;
