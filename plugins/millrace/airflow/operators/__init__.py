"""The tasks of stream DAGs and process DAGs.

Task arguments and conf name things only; what a run works with comes from control.process_run
and the snapshot it points to.
"""

from __future__ import annotations

from millrace.airflow.operators.process import (
    NotebookLink,
    RunDependencies,
    RunNotebook,
    RunNotebookCallable,
)
from millrace.airflow.operators.stream import RunProcess, StreamResult

__all__ = [
    "NotebookLink",
    "RunDependencies",
    "RunNotebook",
    "RunNotebookCallable",
    "RunProcess",
    "StreamResult",
]
