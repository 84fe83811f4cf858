"""A real browser over a real server with a real run going on. See `dashboard.py`."""
