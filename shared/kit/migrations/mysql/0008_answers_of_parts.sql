-- The part of a scope whose data the answer shows: it is replayed only to a caller who sees that part. None: to one who sees all.
ALTER TABLE idempotency ADD COLUMN scope_part VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL;
