"""The control tables: rows and snapshots on one side, the arbiter and the log of runs on the other.

The one place that names the adapter; everybody else knows base.py's ports.
"""

from __future__ import annotations

from millrace.control.base import ControlStore, RunStore
from millrace.control.postgres import PostgresControl
from millrace.control.postgres_runs import PostgresRuns

__all__ = ["open_control", "open_runs"]


def open_control(database_url: str) -> ControlStore:
    """The rows and snapshots of the control database; nothing is connected yet."""
    return PostgresControl(database_url)


def open_runs(database_url: str) -> RunStore:
    """The arbiter and the log of runs of the control database; nothing is connected yet."""
    return PostgresRuns(database_url)
