"""Starting a process's DAG run from a task, through Airflow's own supervisor."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from millrace.errors import ControlError
from millrace.model import RunIdentity

log = logging.getLogger(__name__)

ENDED = frozenset({"success", "failed"})


class TargetUnusable(ControlError):
    """The process's DAG cannot be started."""


def process_dag_id(process_name: str) -> str:
    """The DAG of a process."""
    return f"process__{process_name}"


def stream_dag_id(stream_name: str) -> str:
    """The DAG of a stream."""
    return f"stream__{stream_name}"


def start(identity: RunIdentity, *, reset: bool) -> None:
    """Start the identity's DAG run, or clear the one there is; joins one that is under way.

    Raises TargetUnusable, naming the DAG, where it is paused, missing or stale: a run of it
    would wait for ever.
    """
    dag_id = process_dag_id(identity.process_name)
    _refuse_unusable(dag_id)
    if _send(dag_id, identity, reset=reset):
        return
    state = state_of(identity.process_name, identity.run_id)
    log.info("DAG run %s is there already: %s", identity.run_id, state)
    if state in ENDED:
        # Left over from before the arbiter's row: same identity, so the same DAG run, again.
        _send(dag_id, identity, reset=True)


def state_of(process_name: str, run_id: str) -> str | None:
    """The state of a process's DAG run; None where there is none."""
    dag_id = process_dag_id(process_name)
    if not RuntimeTaskInstance.get_dr_count(dag_id=dag_id, run_ids=[run_id]):
        return None
    state: Any = RuntimeTaskInstance.get_dagrun_state(dag_id=dag_id, run_id=run_id)
    # An enum whose str() is its name: compared as it is, no run would ever have ended.
    return str(getattr(state, "value", state))


def _refuse_unusable(dag_id: str) -> None:
    try:
        dag = RuntimeTaskInstance.get_dag(dag_id)
    except AirflowRuntimeError as exc:
        raise TargetUnusable(
            f"There is no DAG {dag_id}.", cure="See `millrace check` for the fault in its rows."
        ) from exc
    if dag.is_paused:
        raise TargetUnusable(f"DAG {dag_id} is paused.", cure="Unpause it in the Airflow UI.")


def _send(dag_id: str, identity: RunIdentity, *, reset: bool) -> bool:
    """True when the run was created or cleared, False when it was there and `reset` is off."""
    # The supervisor's channel is bound when the task starts: look it up late.
    from airflow.sdk.execution_time import task_runner

    message = TriggerDagRun(
        dag_id=dag_id,
        run_id=identity.run_id,
        logical_date=None,
        conf={"data_date": identity.data_date.isoformat(), "generation": identity.generation},
        reset_dag_run=reset,
    )
    try:
        answer = task_runner.SUPERVISOR_COMMS.send(message)
    except (AirflowRuntimeError, ServerResponseError) as exc:
        raise TargetUnusable(
            f"DAG {dag_id} could not be started: {exc}",
            cure="A DAG that was just removed or does not import answers so; see `millrace check`.",
        ) from exc
    exists = isinstance(answer, ErrorResponse) and answer.error == ErrorType.DAGRUN_ALREADY_EXISTS
    return not exists
