"""Floor 4: RFC 959 and what came after it."""
