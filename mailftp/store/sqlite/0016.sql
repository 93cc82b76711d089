-- Domains that took mail over STARTTLS, so that a later connection without it is known for a downgrade.
CREATE TABLE tls_memories (
    -- As the queue has it, lower case.
    domain TEXT PRIMARY KEY,
    -- Name of the host that did.
    host TEXT NOT NULL,
    -- When that was last written down.
    since REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tls_memories_by_time ON tls_memories (since);
