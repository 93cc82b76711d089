"""Floor 0: bytes and connections."""
