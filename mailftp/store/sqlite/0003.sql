-- Addresses that are no account's own: aliases, forwarding, lists, whole domains; and what an account may send
-- as beside its own address.

CREATE TABLE aliases (
    -- As an account's, or "@domain" for all that nothing else has.
    address TEXT PRIMARY KEY,
    created REAL NOT NULL,
    -- The account of the same address gets a copy.
    keep INTEGER NOT NULL DEFAULT 0,
    -- Not '' for a list: where reports about its mail go.
    owner TEXT NOT NULL DEFAULT '',
    members_only INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE alias_targets (
    address TEXT NOT NULL REFERENCES aliases (address) ON DELETE CASCADE,
    target TEXT NOT NULL,
    PRIMARY KEY (address, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX alias_targets_by_target ON alias_targets (target);

CREATE TABLE grants (
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- Or "@domain".
    address TEXT NOT NULL,
    PRIMARY KEY (account_id, address)
) STRICT, WITHOUT ROWID;

-- The sender of a message that is sent on under a reverse-path of ours; its reports come to that.
ALTER TABLE queue_messages ADD COLUMN return_to TEXT NOT NULL DEFAULT '';
CREATE INDEX queue_messages_by_reverse_path ON queue_messages (reverse_path) WHERE return_to <> '';
