-- The deliveries of an event: how those of all endpoints are listed. An event's deliveries are written together and this column
-- never changes, so it costs a fan-out one more entry at the end of an index, and claiming and settling nothing.
CREATE INDEX deliveries_event ON deliveries (event_id);

-- The beginning of an answer that is no 2xx, escaped.
ALTER TABLE delivery_attempts ADD COLUMN answer VARCHAR(2048) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
