"""Millrace: rows in Postgres become scheduled LLM batch pipelines on your own machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.notebook.run import Run, open_run

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "open_run"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: most who import millrace never open a run, and pandas takes its time.
    if name in ("Run", "open_run"):
        from millrace.notebook import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
