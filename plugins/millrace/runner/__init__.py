"""The runner: one pipeline from a process run's identity to its executed notebook and its outcome.

Cheap to import: papermill and the kernel's machinery load when a notebook is executed.
"""

from __future__ import annotations

from millrace.runner.contract import check_notebook
from millrace.runner.run import RunOrder, RunReport, Wiring, run_process

__all__ = ["RunOrder", "RunReport", "Wiring", "check_notebook", "run_process"]
