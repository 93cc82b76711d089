-- How a message wants to be handled on its way: RFC 8689, RFC 6710, RFC 2852, RFC 4865.
ALTER TABLE queue_messages ADD COLUMN requiretls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue_messages ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
-- 0: at no time.
ALTER TABLE queue_messages ADD COLUMN deliver_by REAL NOT NULL DEFAULT 0;
ALTER TABLE queue_messages ADD COLUMN by_mode TEXT NOT NULL DEFAULT '';
ALTER TABLE queue_messages ADD COLUMN hold_until REAL NOT NULL DEFAULT 0;
