-- Small objects of an account that a client keeps here: JMAP's identities, submissions and the like. Those that
-- are gone are in "destroyed" under their kind.

CREATE TABLE objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    created_modseq INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    value TEXT NOT NULL
) STRICT;
CREATE INDEX objects_by_account ON objects (account_id, kind);
