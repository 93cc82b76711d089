"""Floor 4: RFC 5321."""
