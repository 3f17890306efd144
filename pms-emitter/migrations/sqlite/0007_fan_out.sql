-- Deliveries are made after the commit of their event, by the sequencer, in the transaction that gives the event its place in
-- feed_seq. Events of before have no place yet and get one in the same way, by their ids; a delivery that they have stays as it is.
-- event_types and property_ids: what is delivered; all, or names with commas between them.
ALTER TABLE endpoints ADD COLUMN event_types TEXT NOT NULL DEFAULT '*';

ALTER TABLE endpoints ADD COLUMN property_ids TEXT NOT NULL DEFAULT '*';

-- Events after this place are still to be queued for the endpoint; NULL when it is queued all that gets a place.
ALTER TABLE endpoints ADD COLUMN backfill_seq INTEGER;

-- Which of the events of before one without a URL has missed, is known by the deliveries that are there.
UPDATE endpoints SET backfill_seq = 0 WHERE subscribed = 0;

ALTER TABLE endpoints DROP COLUMN backfill_after;

ALTER TABLE endpoints DROP COLUMN backfill_again_at;
