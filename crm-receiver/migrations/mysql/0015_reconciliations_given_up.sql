-- Events that were missing until they were older than what is remembered: they are looked for no more.
ALTER TABLE reconciliations ADD COLUMN given_up BIGINT NOT NULL DEFAULT 0;
