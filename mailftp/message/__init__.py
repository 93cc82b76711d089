"""Floor 0: RFC 5322 and MIME as byte offsets; addresses; reports."""
