"""A person's Mark success / failed, carried over to the control tables.

Airflow calls these hooks in the API server when somebody marks, and in workers and the
scheduler when things end by themselves; only the former are acted on here. The latter the runner
has written already, or, where it was killed, those who wait for the run and the watchdog write.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl
from airflow.models.taskinstance import TaskInstance

from millrace.airflow.stores import stores
from millrace.errors import ControlError
from millrace.model import RunIdentity, RunState

log = logging.getLogger(__name__)

BY_HAND = "manually set"
NOTEBOOK_TASK = "notebook"


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """A task was marked success."""
    _task_marked(task_instance, "success")


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """A task was marked failed."""
    # The scheduler calls this too, for a task that it finds dead.
    if BY_HAND in str(error):
        _task_marked(task_instance, "failed")


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """A DAG run was marked success."""
    _dag_run_marked(dag_run, "success", msg)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """A DAG run was marked failed."""
    _dag_run_marked(dag_run, "failed", msg)


def _task_marked(task_instance: Any, state: RunState) -> None:
    # Workers report with a RuntimeTaskInstance; only the API server has the ORM's.
    if not isinstance(task_instance, TaskInstance):
        return
    kind, _, name = task_instance.dag_id.partition("__")
    if kind == "process" and task_instance.task_id == NOTEBOOK_TASK:
        _mark_process(name, task_instance.run_id, state)
    elif kind == "stream":
        _mark_in_stream(name, task_instance.task_id, task_instance.run_id, state)


def _dag_run_marked(dag_run: Any, state: RunState, msg: str) -> None:
    kind, _, name = dag_run.dag_id.partition("__")
    if kind == "process" and BY_HAND in (msg or ""):
        _mark_process(name, dag_run.run_id, state)


def _mark_process(name: str, dag_run_id: str, state: RunState) -> None:
    store = stores().runs
    try:
        run = store.process_run_of(name, dag_run_id)
        identity = run.identity if run else RunIdentity.parse(dag_run_id)
        if identity is not None:
            _mark(identity, state, run.stream_name if run else "")
    except ControlError:
        log.exception("The mark on %s is not in the control tables", dag_run_id)


def _mark_in_stream(stream_name: str, task_id: str, dag_run_id: str, state: RunState) -> None:
    store = stores().runs
    try:
        run = store.stream_run_of(stream_name, dag_run_id)
        if run is not None:
            identity = RunIdentity(task_id, run.data_date, run.generation)
            if store.process_run(identity) is not None:
                _mark(identity, state, stream_name)
    except ControlError:
        log.exception("The mark on %s is not in the control tables", dag_run_id)


def _mark(identity: RunIdentity, state: RunState, stream_name: str) -> None:
    stores().runs.mark(
        identity, state, f"Marked {state} by a person in Airflow.", stream_name=stream_name
    )
    log.info("Marked %s %s", identity.run_id, state, extra={"action": "mark"})
