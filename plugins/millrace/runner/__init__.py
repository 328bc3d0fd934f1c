"""The runner: one pipeline from a process run's identity to its executed notebook and its outcome.

Names load when they are first used: every kernel starts through this package and needs none of
them, and papermill's machinery waits until a notebook is executed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.runner.contract import check_notebook
    from millrace.runner.run import RunOrder, RunReport, Wiring, run_process

__all__ = ["RunOrder", "RunReport", "Wiring", "check_notebook", "run_process"]


def __getattr__(name: str) -> Any:
    """The public name out of the module that holds it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "contract" if name == "check_notebook" else "run"
    return getattr(import_module(f"{__name__}.{module}"), name)
