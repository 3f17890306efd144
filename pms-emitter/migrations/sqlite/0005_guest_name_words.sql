-- The folded words of last names, each with those behind it: a guest is found by the beginning of any of them.
CREATE TABLE guest_name_words (
    word TEXT NOT NULL,
    guest_id TEXT NOT NULL,
    PRIMARY KEY (word, guest_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX guest_name_words_guest ON guest_name_words (guest_id);
