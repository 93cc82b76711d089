"""Measurements beside peers; see side_by_side."""
