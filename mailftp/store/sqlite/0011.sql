-- Passwords beside the account's own, each made for one program.
CREATE TABLE app_passwords (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    selector TEXT NOT NULL,
    -- Words with a space between them; '' for every protocol.
    protocols TEXT NOT NULL,
    read_only INTEGER NOT NULL,
    created REAL NOT NULL,
    last_used REAL,
    password TEXT NOT NULL,
    -- All NULL where the account itself has none.
    scram_salt BLOB,
    scram_iterations INTEGER,
    scram_stored_key BLOB,
    scram_server_key BLOB,
    UNIQUE (account_id, name),
    UNIQUE (account_id, selector)
) STRICT;
