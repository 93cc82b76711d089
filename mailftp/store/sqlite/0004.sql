-- What is remembered of expunges has an end: when each was, how many there are, and from which modseq on they
-- are all there (RFC 7162 section 3.2.7; RFC 8620 section 5.2, cannotCalculateChanges).

ALTER TABLE tombstones ADD COLUMN expunged REAL NOT NULL DEFAULT 0;
UPDATE tombstones SET expunged = CAST(strftime('%s', 'now') AS REAL);
CREATE INDEX tombstones_by_time ON tombstones (expunged);
ALTER TABLE mailboxes ADD COLUMN tombstones INTEGER NOT NULL DEFAULT 0;
UPDATE mailboxes SET tombstones = (SELECT count(*) FROM tombstones WHERE mailbox_id = id);
ALTER TABLE mailboxes ADD COLUMN horizon INTEGER NOT NULL DEFAULT 0;
CREATE INDEX mailboxes_by_tombstones ON mailboxes (tombstones) WHERE tombstones > 100000;

ALTER TABLE destroyed ADD COLUMN since REAL NOT NULL DEFAULT 0;
UPDATE destroyed SET since = CAST(strftime('%s', 'now') AS REAL);
CREATE INDEX destroyed_by_time ON destroyed (since);
ALTER TABLE accounts ADD COLUMN destroyed INTEGER NOT NULL DEFAULT 0;
UPDATE accounts SET destroyed = (SELECT count(*) FROM destroyed WHERE account_id = accounts.id);
ALTER TABLE accounts ADD COLUMN horizon INTEGER NOT NULL DEFAULT 0;
CREATE INDEX accounts_by_destroyed ON accounts (destroyed) WHERE destroyed > 100000;

-- Annotations of a mailbox, or of the account where mailbox_id is 0 (RFC 5464).
CREATE TABLE metadata (
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    mailbox_id INTEGER NOT NULL,
    -- Lower case.
    entry TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, entry)
) STRICT, WITHOUT ROWID;
