"""JMAP: RFC 8620 and the types of RFC 8621. `pages` is its way to HTTP; nothing else here
knows of it."""
