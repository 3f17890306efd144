-- Answers that several keys share, each once: those of requests that changed nothing. A row lives at least as long as every
-- key that names it. The digest is over the entity and the body, so erasing a person finds its rows here as in idempotency.
CREATE TABLE idempotency_answers (
    digest BLOB NOT NULL PRIMARY KEY,
    entity_kind TEXT,
    entity_id TEXT,
    expires_at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX idempotency_answers_expires ON idempotency_answers (expires_at);

CREATE INDEX idempotency_answers_entity ON idempotency_answers (entity_kind, entity_id);

-- The shared answer of a key that has no body of its own.
ALTER TABLE idempotency ADD COLUMN answer_digest BLOB;
