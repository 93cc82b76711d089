-- What JMAP asks (RFC 8621): where a mailbox stands among others, whether more of it changed than its counts,
-- and of what is gone since when it was there and in which thread. In "destroyed" there are further kinds: "left"
-- for an email that was taken from one mailbox and is in another, "shown" for one that JMAP did not see while all
-- its places had \Deleted.

ALTER TABLE mailboxes ADD COLUMN sort_order INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN changed_modseq INTEGER NOT NULL DEFAULT 0;
UPDATE mailboxes SET changed_modseq = modseq;
ALTER TABLE destroyed ADD COLUMN created_modseq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE destroyed ADD COLUMN thread_id INTEGER NOT NULL DEFAULT 0;
