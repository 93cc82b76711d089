"""Floor 4: RFC 1939."""
