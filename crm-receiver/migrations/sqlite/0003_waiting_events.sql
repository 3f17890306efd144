-- An event enters this index once it is decided. Entities come in any order, so each would dirty a page of its own in the
-- commit that takes it in; the projector writes its row anyway. What still waits is found by its status: a list by entity
-- walks the backlog for it.
DROP INDEX inbox_entity;

CREATE INDEX inbox_entity ON inbox (entity_id) WHERE status <> 'accepted';
