-- Blobs that clients have uploaded (RFC 8620 section 6.1) and nothing names yet. Ids are never given twice. No
-- foreign keys: those of a removed account go with their age, and so do their bodies.
CREATE TABLE uploads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL,
    body_id INTEGER NOT NULL,
    size INTEGER NOT NULL,
    created REAL NOT NULL
) STRICT;
CREATE INDEX uploads_by_account ON uploads (account_id);
CREATE INDEX uploads_by_body ON uploads (body_id);
CREATE INDEX uploads_by_time ON uploads (created);
