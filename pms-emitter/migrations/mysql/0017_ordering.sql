-- none, or entity: one delivery of an entity at a time, in the order of the feed.
ALTER TABLE endpoints
    ADD COLUMN ordering VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'none';

-- Counts what was made due by hand, so that no change of the endpoint is committed beside it without seeing it, on a cluster either.
ALTER TABLE endpoints ADD COLUMN redeliveries BIGINT NOT NULL DEFAULT 0;

-- What is pending for endpoints that are sent the events of each entity in order. One of each entity is the head, and may be due; the
-- others wait for it, and are due at no time. An entity is named by its property, kind and id.
CREATE TABLE delivery_order (
    endpoint_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    entity_key VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The event's place in the feed.
    seq BIGINT NOT NULL,
    -- 1, or NULL for one that waits: so there are never two heads.
    head BIGINT,
    -- Written by who queues another one behind it: so it does not end meanwhile.
    guard BIGINT NOT NULL DEFAULT 0,
    -- What the delivery has once it is the head.
    due_at BIGINT NOT NULL,
    due_set_at BIGINT NOT NULL,
    PRIMARY KEY (endpoint_id, event_id),
    UNIQUE (endpoint_id, entity_key, head)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX delivery_order_next ON delivery_order (endpoint_id, entity_key, seq);
