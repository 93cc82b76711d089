"""Floor 3: between a protocol and the store: who may send, to whom it goes."""
