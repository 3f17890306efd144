-- none, or entity: one delivery of an entity at a time, in the order of the feed.
ALTER TABLE endpoints ADD COLUMN ordering TEXT NOT NULL DEFAULT 'none';

-- Counts what was made due by hand, so that no change of the endpoint is committed beside it without seeing it, on a cluster either.
ALTER TABLE endpoints ADD COLUMN redeliveries INTEGER NOT NULL DEFAULT 0;

-- What is pending for endpoints that are sent the events of each entity in order. One of each entity is the head, and may be due; the
-- others wait for it, and are due at no time. An entity is named by its property, kind and id.
CREATE TABLE delivery_order (
    endpoint_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    entity_key TEXT NOT NULL,
    -- The event's place in the feed.
    seq INTEGER NOT NULL,
    -- 1, or NULL for one that waits: so there are never two heads.
    head INTEGER,
    -- Written by who queues another one behind it: so it does not end meanwhile.
    guard INTEGER NOT NULL DEFAULT 0,
    -- What the delivery has once it is the head.
    due_at INTEGER NOT NULL,
    due_set_at INTEGER NOT NULL,
    PRIMARY KEY (endpoint_id, event_id),
    UNIQUE (endpoint_id, entity_key, head)
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_order_next ON delivery_order (endpoint_id, entity_key, seq);
