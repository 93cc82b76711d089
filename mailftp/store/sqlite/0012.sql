-- Browsers that are logged in. The token itself is in the browser's cookie alone.
CREATE TABLE web_sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token_hash BLOB NOT NULL UNIQUE,
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- Of the password that opened it: another one ends it.
    verifier_version INTEGER NOT NULL,
    opened REAL NOT NULL,
    used REAL NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
) STRICT;

CREATE INDEX web_sessions_of_account ON web_sessions (account_id, used);
