"""Sphinx configuration."""

project = "mailftp"
copyright = "2026, the mailftp maintainers"
extensions: list[str] = []
html_theme = "alabaster"
exclude_patterns = ["_build"]
