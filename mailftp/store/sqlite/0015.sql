-- Addresses elsewhere whose servers refuse them for good. Those that have not failed often enough yet are
-- counted here too.
CREATE TABLE suppressions (
    -- As Address.key.
    address TEXT PRIMARY KEY,
    -- When it was last refused, or put on the list by hand.
    since REAL NOT NULL,
    -- When it is forgotten; 0: never.
    until REAL NOT NULL,
    reason TEXT NOT NULL,
    failures INTEGER NOT NULL,
    -- 0: it is only counted.
    suppressed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX suppressions_by_end ON suppressions (until) WHERE until > 0;
