-- What an account may send in a day, to whom it has sent, and whether a copy is filed.

-- NULL: what the settings say; 0: no limit.
ALTER TABLE accounts ADD COLUMN daily_messages INTEGER;
ALTER TABLE accounts ADD COLUMN daily_new_recipients INTEGER;
ALTER TABLE accounts ADD COLUMN file_sent INTEGER NOT NULL DEFAULT 0;

-- The last day (UTC, days since the epoch) on which it sent. Apart from accounts, whose rows everybody reads.
CREATE TABLE sent (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    day INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    new_recipients INTEGER NOT NULL
) STRICT;

CREATE TABLE correspondents (
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (account_id, address)
) STRICT, WITHOUT ROWID;
