-- Reservations. The body is the whole state; the columns beside it are what queries and constraints need of it.
CREATE TABLE reservations (
    id TEXT NOT NULL PRIMARY KEY,
    property_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT NOT NULL,
    confirmation_number TEXT NOT NULL,
    -- The number at the channel that the booking came through: both or neither.
    reference_channel TEXT,
    reference_number TEXT,
    primary_guest_id TEXT NOT NULL,
    -- Local dates of the property, YYYY-MM-DD.
    check_in TEXT NOT NULL,
    check_out TEXT NOT NULL,
    channel TEXT,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT, WITHOUT ROWID;

-- A deleted reservation keeps its numbers: they were given out.
CREATE UNIQUE INDEX reservations_confirmation ON reservations (property_id, confirmation_number);
CREATE UNIQUE INDEX reservations_reference ON reservations (property_id, reference_channel, reference_number);
CREATE INDEX reservations_due ON reservations (property_id, status, check_in);
CREATE INDEX reservations_primary_guest ON reservations (primary_guest_id);
CREATE INDEX reservations_check_in ON reservations (check_in, id);
CREATE INDEX reservations_created ON reservations (created_at, id);
CREATE INDEX reservations_updated ON reservations (updated_at, id);

-- Everyone whom a reservation names, in whatever role, once.
CREATE TABLE reservation_guests (
    guest_id TEXT NOT NULL,
    reservation_id TEXT NOT NULL,
    PRIMARY KEY (guest_id, reservation_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX reservation_guests_reservation ON reservation_guests (reservation_id);
