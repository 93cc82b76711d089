"""Floor 1: what FTP serves, a home folder that cannot be left."""
