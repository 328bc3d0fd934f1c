"""Backends: whatever answers a request. base.py is the port; an adapter stands beside it."""
