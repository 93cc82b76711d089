-- What POP3 asks for: a maildrop's sizes without its messages, identifiers brought from another server, and
-- when a message was fetched.

-- Octets as a client reads them, prefix and body: kept beside the UID, so that a listing of a hundred thousand
-- messages looks at no other table.
ALTER TABLE mailbox_messages ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
UPDATE mailbox_messages
    SET size = coalesce((SELECT length(prefix) + body_size FROM emails WHERE id = email_id), 0);

-- UIDLs of messages that came with one from elsewhere; all others have "<UIDVALIDITY>.<UID>".
CREATE TABLE uidls (
    mailbox_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    uidl TEXT NOT NULL,
    PRIMARY KEY (mailbox_id, uid),
    UNIQUE (mailbox_id, uidl),
    FOREIGN KEY (mailbox_id, uid) REFERENCES mailbox_messages (mailbox_id, uid) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- When a client that leaves its mail here first took a message and said QUIT.
CREATE TABLE retrieved (
    mailbox_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (mailbox_id, uid),
    FOREIGN KEY (mailbox_id, uid) REFERENCES mailbox_messages (mailbox_id, uid) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX retrieved_by_time ON retrieved (since);
