"""Doors: the interfaces by which requests come in."""
