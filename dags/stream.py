"""One stream's Airflow DAGs. The control bundle places a copy of this file beside each stream's rows."""

from pathlib import Path
from typing import Any

from millrace.airflow.dagbuild import build_dags


def run_notebook(**order: Any) -> None:
    """Hand a process run to the runner, which is imported in the task alone: parsing needs no papermill."""
    from millrace.runner import RunOrder, run_process

    run_process(RunOrder(**order))


globals().update(build_dags(Path(__file__), run_notebook))
