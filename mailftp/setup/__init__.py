"""Making a server: its folder, authority and keys, the quickstart's accounts, and whose files they are."""
