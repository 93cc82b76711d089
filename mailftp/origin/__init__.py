"""Floor 2: where a message comes from."""
