-- Reservations. The body is the whole state; the columns beside it are what queries and constraints need of it.
CREATE TABLE reservations (
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version BIGINT NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    confirmation_number VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The number at the channel that the booking came through: both or neither.
    reference_channel VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    reference_number VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    primary_guest_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Local dates of the property, YYYY-MM-DD.
    check_in VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    check_out VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    channel VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    body LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    -- A deleted reservation keeps its numbers: they were given out.
    UNIQUE KEY reservations_confirmation (property_id, confirmation_number),
    UNIQUE KEY reservations_reference (property_id, reference_channel, reference_number),
    KEY reservations_due (property_id, status, check_in),
    KEY reservations_primary_guest (primary_guest_id),
    KEY reservations_check_in (check_in, id),
    KEY reservations_created (created_at, id),
    KEY reservations_updated (updated_at, id)
) ENGINE = InnoDB;

-- Everyone whom a reservation names, in whatever role, once.
CREATE TABLE reservation_guests (
    guest_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reservation_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (guest_id, reservation_id),
    KEY reservation_guests_reservation (reservation_id)
) ENGINE = InnoDB;
