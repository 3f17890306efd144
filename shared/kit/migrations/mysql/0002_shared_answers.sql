-- Answers that several keys share, each once: those of requests that changed nothing. A row lives at least as long as every
-- key that names it. The digest is over the entity and the body, so erasing a person finds its rows here as in idempotency.
CREATE TABLE idempotency_answers (
    digest VARBINARY(32) NOT NULL,
    entity_kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
    entity_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    expires_at BIGINT NOT NULL,
    body MEDIUMBLOB NOT NULL,
    PRIMARY KEY (digest),
    KEY idempotency_answers_expires (expires_at),
    KEY idempotency_answers_entity (entity_kind, entity_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The shared answer of a key that has no body of its own.
ALTER TABLE idempotency ADD COLUMN answer_digest VARBINARY(32) NULL;
