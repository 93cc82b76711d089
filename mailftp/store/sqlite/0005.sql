-- What an operator asks of queued mail: to go by another way, to be given up and its sender told.
ALTER TABLE queue_recipients ADD COLUMN route TEXT NOT NULL DEFAULT '';
ALTER TABLE queue_recipients ADD COLUMN give_up INTEGER NOT NULL DEFAULT 0;
