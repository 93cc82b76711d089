-- The first schema. Times are seconds since the epoch, sizes are octets.
--
-- Ids of accounts, mailboxes, emails, bodies and queue messages are never given twice (AUTOINCREMENT):
-- clients and open sessions remember them. Thread ids are the id of the thread's first email.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- RFC 9051 section 2.3.1.1: no UIDVALIDITY is ever given twice, whatever is removed and made again.
INSERT INTO counters (name, value) VALUES ('uidvalidity', 0);

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    mail_quota INTEGER,
    files_quota INTEGER,
    -- One counter an account: a JMAP state string, and a valid IMAP MODSEQ for each of its mailboxes.
    modseq INTEGER NOT NULL DEFAULT 0,
    -- What its mailboxes hold, kept by the transactions that change it.
    octets INTEGER NOT NULL DEFAULT 0,
    messages INTEGER NOT NULL DEFAULT 0,
    verifier_version INTEGER NOT NULL DEFAULT 1
) STRICT;

-- Apart from accounts, whose rows are written with every message.
CREATE TABLE verifiers (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    password TEXT NOT NULL,
    -- All NULL when SCRAM cannot be offered.
    scram_salt BLOB,
    scram_iterations INTEGER,
    scram_stored_key BLOB,
    scram_server_key BLOB
) STRICT;

CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    modseq INTEGER NOT NULL,
    created_modseq INTEGER NOT NULL,
    special_use TEXT NOT NULL DEFAULT '',
    UNIQUE (account_id, name)
) STRICT;

-- Apart from mailboxes: a name stays subscribed when its mailbox is gone (RFC 9051 section 6.3.7).
CREATE TABLE subscriptions (
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    PRIMARY KEY (account_id, name)
) STRICT, WITHOUT ROWID;

-- A body once, whoever holds it. data is NULL where it is a file named by its SHA-256.
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    data BLOB
) STRICT;

-- mailftp.message.index, encoded; its own version is in it. Apart from bodies, so that listing ten
-- thousand messages does not read the pages that their bodies are in.
CREATE TABLE body_indexes (
    body_id INTEGER PRIMARY KEY REFERENCES bodies (id) ON DELETE CASCADE,
    stored BLOB NOT NULL
) STRICT;

-- Bodies that nothing named when this was written; looked at again after the grace time.
CREATE TABLE unused_bodies (
    body_id INTEGER PRIMARY KEY REFERENCES bodies (id) ON DELETE CASCADE,
    since REAL NOT NULL
) STRICT;
CREATE INDEX unused_bodies_by_time ON unused_bodies (since);

-- JMAP's Email: content that never changes, in any number of mailboxes of its account. What may
-- differ from mailbox to mailbox (UID, flags) is in mailbox_messages.
CREATE TABLE emails (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- No foreign key: the mail of a removed account is removed piece by piece after it.
    account_id INTEGER NOT NULL,
    thread_id INTEGER NOT NULL,
    body_id INTEGER NOT NULL REFERENCES bodies (id),
    -- The body's, so that a listing need not look at bodies.
    body_size INTEGER NOT NULL,
    received REAL NOT NULL,
    created_modseq INTEGER NOT NULL,
    -- This recipient's trace header fields, which come before the body.
    prefix BLOB NOT NULL
) STRICT;
CREATE INDEX emails_by_thread ON emails (thread_id);
CREATE INDEX emails_by_body ON emails (body_id);

CREATE TABLE mailbox_messages (
    mailbox_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    email_id INTEGER NOT NULL REFERENCES emails (id),
    -- Sorted, one space between: mailftp.store.flags.
    flags TEXT NOT NULL DEFAULT '',
    -- When it came into this mailbox (RFC 8514).
    saved REAL NOT NULL,
    PRIMARY KEY (mailbox_id, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX mailbox_messages_by_modseq ON mailbox_messages (mailbox_id, modseq);
CREATE INDEX mailbox_messages_by_email ON mailbox_messages (email_id);

-- Expunged messages (RFC 7162 section 3.2.5).
CREATE TABLE tombstones (
    mailbox_id INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, modseq, uid)
) STRICT, WITHOUT ROWID;

-- What JMAP must call "destroyed" (RFC 8620 section 5.2). kind: 'email', 'mailbox'.
CREATE TABLE destroyed (
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    modseq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (account_id, modseq, kind, id)
) STRICT, WITHOUT ROWID;

-- mailftp.store.threads: what makes messages of one account a thread.
CREATE TABLE thread_keys (
    account_id INTEGER NOT NULL,
    key BLOB NOT NULL,
    thread_id INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_keys_by_thread ON thread_keys (thread_id);

-- Mailboxes that are gone and whose messages are still to be removed, a few at a time.
CREATE TABLE removed_mailboxes (
    id INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE queue_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- NULL once nothing is left to send.
    body_id INTEGER REFERENCES bodies (id),
    body_size INTEGER NOT NULL,
    accepted REAL NOT NULL,
    finished REAL,
    reverse_path TEXT NOT NULL,
    prefix BLOB NOT NULL,
    -- Who submitted it; the account may be gone by now.
    account_id INTEGER,
    ret TEXT NOT NULL,
    envid TEXT NOT NULL,
    eightbit INTEGER NOT NULL,
    smtputf8 INTEGER NOT NULL,
    context TEXT NOT NULL
) STRICT;
CREATE INDEX queue_messages_by_body ON queue_messages (body_id) WHERE body_id IS NOT NULL;
CREATE INDEX queue_messages_finished ON queue_messages (finished) WHERE finished IS NOT NULL;

CREATE TABLE queue_recipients (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id INTEGER NOT NULL REFERENCES queue_messages (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    domain TEXT NOT NULL,
    -- RecipientState
    state TEXT NOT NULL,
    -- Attempts begun: the fence.
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt REAL NOT NULL,
    -- When it may be leased: next_attempt, or the end of the lease that it is under.
    due REAL NOT NULL,
    lease_owner TEXT NOT NULL DEFAULT '',
    lease_until REAL NOT NULL DEFAULT 0,
    -- The RecipientState that the operator asked for while it was leased, or ''.
    wish TEXT NOT NULL DEFAULT '',
    orcpt TEXT NOT NULL,
    notify TEXT NOT NULL,
    delay_warned INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX queue_recipients_by_message ON queue_recipients (message_id);
-- state is in them so that they hold all that is asked. Both cover LeaseDue's choice: the first by time alone, the second past destinations that are busy.
CREATE INDEX queue_recipients_due ON queue_recipients (state, due, domain) WHERE state = 'waiting';
CREATE INDEX queue_recipients_due_by_domain ON queue_recipients (state, domain, due) WHERE state = 'waiting';
CREATE INDEX queue_recipients_leased ON queue_recipients (lease_owner) WHERE lease_owner <> '';

CREATE TABLE attempts (
    recipient_id INTEGER NOT NULL REFERENCES queue_recipients (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    started REAL NOT NULL,
    ended REAL NOT NULL,
    remote TEXT NOT NULL,
    outcome TEXT NOT NULL,
    dialogue TEXT NOT NULL,
    UNIQUE (recipient_id, number)
) STRICT;
