-- By what an operator asks for a queued message when its body is gone: its Message-ID, without brackets.
ALTER TABLE queue_messages ADD COLUMN message_id TEXT NOT NULL DEFAULT '';
CREATE INDEX queue_messages_by_message_id ON queue_messages (message_id) WHERE message_id <> '';
