"""From `modular_x.py`, which says what differs from an architecture, to a folder that needs nothing of it."""
