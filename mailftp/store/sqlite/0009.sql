-- How many messages an account may have. NULL: what the settings say.
ALTER TABLE accounts ADD COLUMN message_quota INTEGER;
