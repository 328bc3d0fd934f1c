"""Start-or-join: what a task says to the arbiter, and what it does with the answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.airflow import childruns
from millrace.airflow.dates import Tick
from millrace.control.base import Decision, Request, RunStore
from millrace.model import ProcessRun, RunIdentity

log = logging.getLogger(__name__)

STARTER_GRACE = timedelta(seconds=15)
"""How long whoever was told to start a run may take to create its DAG run."""


@dataclass(frozen=True)
class Requester:
    """A task attempt that wants process runs done."""

    dag_run_id: str
    clear_number: int
    began_at: datetime
    cleared: bool
    """A person cleared this task: what it asked for before is to be done again."""

    @property
    def key(self) -> str:
        """`<run id>#<clear number>`, as in control.process_run.requested_by."""
        return f"{self.dag_run_id}#{self.clear_number}"

    @classmethod
    def of(cls, context: Any) -> Requester:
        """Read it off a task's context.

        The first try since the last clear began when it began. A later try repeats it after an
        infrastructure fault, and began when the DAG run did: a failure in between propagates
        instead of being restarted.
        """
        ti, dag_run = context["ti"], context["dag_run"]
        first_try = ti.max_tries - ti.task.retries + 1
        is_first = ti.try_number <= first_try
        return cls(
            dag_run_id=dag_run.run_id,
            clear_number=dag_run.clear_number or 0,
            began_at=ti.start_date if is_first else dag_run.start_date,
            cleared=is_first and first_try > 1,
        )


@dataclass(frozen=True)
class Answer:
    """Where the wanted runs stand now."""

    waiting: tuple[RunIdentity, ...]
    failed: ProcessRun | None


def tick_of(context: Any) -> Tick:
    """What Airflow says of the task's DAG run, as far as dates go."""
    run = context["dag_run"]
    return Tick(
        run_type=str(getattr(run.run_type, "value", run.run_type)),
        run_after=run.run_after,
        logical_date=run.logical_date,
        conf=context["params"],
    )


def start_or_join(
    store: RunStore,
    wanted: Sequence[tuple[RunIdentity, str]],
    *,
    requester: Requester,
    control_version: str,
    redo: bool,
) -> Answer:
    """Ask the arbiter for each (identity, stream name) and start what it says to start.

    Raises TargetUnusable, after the run is marked failed, where a DAG cannot be started.
    """
    waiting: list[RunIdentity] = []
    for identity, stream_name in wanted:
        request = Request(
            identity, stream_name, control_version, requester.key, requester.began_at, redo
        )
        decision = _settled(store, store.request(request), request)
        log.info("%s: %s", identity.run_id, decision.verdict)
        if decision.verdict == "failed":
            return Answer(tuple(waiting), decision.run)
        if decision.verdict != "done":
            waiting.append(identity)
    return Answer(tuple(waiting), None)


def _settled(store: RunStore, decision: Decision, request: Request) -> Decision:
    """The decision after acting on it: DAG runs started, lost ones given up."""
    identity = request.identity
    if decision.verdict in ("start", "restart"):
        _start(store, request, reset=decision.verdict == "restart")
    elif decision.verdict == "wait" and _needs_starter(decision.run, request):
        _start(store, request, reset=False)
    elif decision.verdict == "wait" and (state := _ended_behind(decision.run)):
        store.mark(
            identity,
            "failed",
            f"Its DAG run ended as {state} without a result: the task was killed or lost. "
            "Trigger the stream again to resume.",
            stream_name=request.stream_name,
        )
        return store.request(request)
    return decision


def _start(store: RunStore, request: Request, *, reset: bool) -> None:
    try:
        childruns.start(request.identity, reset=reset)
    except childruns.TargetUnusable as exc:
        store.mark(request.identity, "failed", str(exc), stream_name=request.stream_name)
        raise


def _needs_starter(run: ProcessRun, request: Request) -> bool:
    """Queued without a DAG run: whoever was to create it died, or is this very task, retried."""
    if run.state != "queued" or run.dag_run_id is not None:
        return False
    mine = run.requested_by == request.requested_by
    overdue = datetime.now(UTC) - run.queued_at > STARTER_GRACE
    identity = run.identity
    return (mine or overdue) and childruns.state_of(identity.process_name, identity.run_id) is None


def _ended_behind(run: ProcessRun) -> str | None:
    """The end state of a DAG run whose process run is still live in the control tables."""
    run_id = run.dag_run_id or run.identity.run_id
    state = childruns.state_of(run.identity.process_name, run_id)
    quiet_since = run.heartbeat_at or run.queued_at
    recent = datetime.now(UTC) - quiet_since < STARTER_GRACE
    return state if state in childruns.ENDED and not recent else None
