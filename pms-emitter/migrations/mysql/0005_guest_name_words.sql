-- The folded words of last names, each with those behind it: a guest is found by the beginning of any of them.
CREATE TABLE guest_name_words (
    word VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    guest_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (word, guest_id),
    KEY guest_name_words_guest (guest_id)
) ENGINE = InnoDB;
