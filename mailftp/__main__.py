"""`python -m mailftp` is the `mailftp` command."""

from mailftp.cli import main

main()
