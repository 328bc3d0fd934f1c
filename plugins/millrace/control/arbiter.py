"""What the arbiter decides about a process run, once its row is locked. Pure."""

from __future__ import annotations

from typing import Literal

from millrace.control.base import Request
from millrace.errors import AlreadyRunning
from millrace.model import LIVE_STATES, Outcome, ProcessRun, RunState


def verdict(
    run: ProcessRun, request: Request
) -> Literal["start", "restart", "wait", "done", "failed"]:
    """Start or join; see RunStore.request."""
    if run.state in LIVE_STATES:
        return "wait"
    # A failure that came later is this requester's to hear of: two that wait for one run would
    # else restart it under each other's hands.
    earlier = run.ended_at is not None and run.ended_at < request.began_at
    if run.state == "success":
        return "restart" if request.redo and earlier else "done"
    if earlier:
        return "restart"
    return "failed" if run.state == "failed" else "done"


def may_take(
    run: ProcessRun, dag_run_id: str, *, recorded_clears: int, clears: int, is_fresh: bool
) -> bool:
    """Whether a new attempt may begin; False where it is done already.

    `recorded_clears` and `clears` count how often the DAG run had been cleared at the last
    attempt and now. Raises AlreadyRunning where a live attempt belongs to another DAG run.
    """
    if run.state == "success":
        return clears > recorded_clears
    if run.state == "running" and is_fresh and run.dag_run_id != dag_run_id:
        raise AlreadyRunning(
            f"Process run {run.identity.run_id} is being worked on by DAG run {run.dag_run_id}.",
            cure="Wait for it, or mark its task failed first.",
        )
    return True


def state_after(outcome: Outcome) -> RunState:
    """The state of the process run when its attempt has ended so."""
    if outcome.status == "success" or outcome.status == "skipped":
        return outcome.status
    return "retrying" if outcome.will_retry else "failed"
