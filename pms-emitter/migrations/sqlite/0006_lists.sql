-- Every list is read through an index on what it is sorted by.
CREATE INDEX properties_created ON properties (created_at, id);

-- The same numbers, by the number first: a reservation is looked for by its number, whichever property it is of.
DROP INDEX reservations_confirmation;

CREATE UNIQUE INDEX reservations_confirmation ON reservations (confirmation_number, property_id);
