"""What an operator sees of a running server: the control socket and what it is asked, systemd, the log."""
