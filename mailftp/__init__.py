"""A complete mail and file server as one twistd plugin."""

__version__ = "0.1.0"
