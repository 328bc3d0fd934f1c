"""Millrace: rows in Postgres become scheduled LLM batch pipelines on your own machines."""

__version__ = "0.1.0"
