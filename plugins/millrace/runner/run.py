"""One process run, from its identity to its outcome: a pipeline over one frozen order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from millrace.control.base import ControlStore, RunStore
from millrace.errors import (
    ContractError,
    ControlUnavailable,
    LakeError,
    MillraceError,
    NotebookFailed,
    StaleFence,
)
from millrace.lake.base import Lake
from millrace.model import Attempt, Outcome, ProcessSpec, RunIdentity
from millrace.plan import spec
from millrace.redaction import Redactor
from millrace.runner.contract import Contract, agree, platform_values, run_values
from millrace.runner.document import Saved, save_executed
from millrace.runner.engine import Executed, Execution, execute
from millrace.runner.environment import kernel_environment
from millrace.runner.failure import Limits
from millrace.runner.guard import INTERRUPT_GRACE_S, KernelGuard
from millrace.runner.heartbeat import INTERVAL_S, Heartbeat
from millrace.runner.output import CellOutput
from millrace.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class RunOrder:
    """What the task of a process DAG asks for."""

    identity: RunIdentity
    stream_name: str
    dag_run_id: str
    clear_number: int
    control_version: str
    will_retry: bool = False
    """Airflow has tries left: a failure leaves the process run 'retrying' instead of 'failed'."""
    log_url: str = ""


@dataclass(frozen=True)
class RunReport:
    """How it went. `status` 'done': an earlier attempt had succeeded, nothing was run."""

    run_id: str
    status: Literal["success", "done"]
    attempt: int = 0
    executed_notebook_uri: str | None = None
    page_uri: str | None = None
    notebook_sha256: str | None = None


@dataclass(frozen=True)
class Wiring:
    """What the runner works with; `runner.wiring.wired` makes the real one."""

    store: RunStore
    snapshots: ControlStore
    lake: Lake
    settings: Settings
    environ: Mapping[str, str] = field(default_factory=dict)
    """The environment a kernel inherits its few allowed names from."""
    heartbeat_s: float = INTERVAL_S
    grace_s: float = INTERRUPT_GRACE_S
    patience_s: float = 240.0
    """How long an unavailable control database is waited for before and after a notebook."""


def run_process(order: RunOrder, wiring: Wiring | None = None) -> RunReport:
    """Execute the process run once, on the row its control version holds.

    Raises NotebookFailed or ContractError when it failed (recorded, executed notebook saved),
    StaleFence when another attempt took it over (nothing written), ControlUnavailable when the
    outcome could not be recorded.
    """
    wiring = wiring or _default_wiring()
    attempt = _patiently(wiring, lambda: _open(order, wiring))
    if attempt is None:
        return RunReport(order.identity.run_id, "done")
    guard = KernelGuard()
    beat = Heartbeat(
        wiring.store,
        attempt,
        on_lost=lambda: guard.stop("fence", grace_s=0),
        interval_s=wiring.heartbeat_s,
    )
    with beat, guard.termination():
        return _attempt(order, wiring, attempt, guard, beat)


def _attempt(
    order: RunOrder, wiring: Wiring, attempt: Attempt, guard: KernelGuard, beat: Heartbeat
) -> RunReport:
    redactor = Redactor([*wiring.settings.secrets(), attempt.token])
    try:
        row = _row(wiring, attempt)
        contract = agree(
            row,
            wiring.settings.notebooks_dir,
            platform_values(row, run_values(attempt)),
        )
        executed = execute(_execution(wiring, attempt, row, contract, guard, redactor))
        beat.raise_if_lost()
        saved = _save(wiring, attempt, executed, redactor)
        beat.raise_if_lost()
    except StaleFence:
        raise
    except MillraceError as exc:
        # Not chained: the message is complete, and redacted only in the new one.
        raise _recorded(order, wiring, attempt, exc, redactor) from None
    except Exception as exc:
        raise _recorded(order, wiring, attempt, exc, redactor) from exc
    return _close(order, wiring, attempt, executed, saved, redactor)


def _open(order: RunOrder, wiring: Wiring) -> Attempt | None:
    attempt = wiring.store.open_attempt(
        order.identity,
        stream_name=order.stream_name,
        dag_run_id=order.dag_run_id,
        control_version=order.control_version,
        clear_number=order.clear_number,
    )
    log.info(
        "The process run %s",
        "has succeeded before: nothing to do" if attempt is None else "starts",
        extra={"action": "attempt_opened", "run_id": order.identity.run_id},
    )
    return attempt


def _row(wiring: Wiring, attempt: Attempt) -> ProcessSpec:
    """The row as the attempt's snapshot has it, whatever the tables say by now."""
    snapshot = _patiently(wiring, lambda: wiring.snapshots.load_snapshot(attempt.control_version))
    return spec(snapshot.content, attempt.identity.process_name)


def _execution(
    wiring: Wiring,
    attempt: Attempt,
    row: ProcessSpec,
    contract: Contract,
    guard: KernelGuard,
    redactor: Redactor,
) -> Execution:
    redactor.learn_from(contract.program)
    return Execution(
        notebook=contract.notebook,
        values=contract.values,
        folder=contract.path.parent,
        environment=lambda work_dir: kernel_environment(
            wiring.settings, attempt, wiring.environ, work_dir
        ),
        limits=Limits(row.process.timeout_s, row.process.memory_limit_mb),
        output=CellOutput(redactor, attempt.run_id),
        guard=guard,
        grace_s=wiring.grace_s,
    )


def _save(wiring: Wiring, attempt: Attempt, executed: Executed, redactor: Redactor) -> Saved:
    failure = str(executed.failure or "")
    try:
        return save_executed(wiring.lake, attempt, executed.notebook, redactor, failure=failure)
    except LakeError as exc:
        if executed.failure is None:
            raise
        # Why the notebook failed matters more than why its copy is missing: say both.
        raise NotebookFailed(
            f"{failure} (and the executed notebook could not be saved: {exc})",
            cell=executed.failure.cell,
        ) from exc


def _close(
    order: RunOrder,
    wiring: Wiring,
    attempt: Attempt,
    executed: Executed,
    saved: Saved,
    redactor: Redactor,
) -> RunReport:
    failure = executed.failure
    message = redactor.text(str(failure or ""))
    outcome = Outcome(
        "failed" if failure else "success",
        message,
        will_retry=bool(failure) and order.will_retry,
        executed_notebook_uri=saved.notebook.uri,
        notebook_sha256=saved.notebook.sha256,
    )
    _patiently(wiring, lambda: wiring.store.close_attempt(attempt, outcome))
    _log_outcome(attempt, outcome)
    if failure:
        raise NotebookFailed(message, cell=failure.cell, executed_notebook_uri=saved.notebook.uri)
    return RunReport(
        attempt.run_id,
        "success",
        attempt.attempt,
        saved.notebook.uri,
        saved.page.uri,
        saved.notebook.sha256,
    )


def _recorded(
    order: RunOrder, wiring: Wiring, attempt: Attempt, error: Exception, redactor: Redactor
) -> MillraceError:
    """What went wrong around the notebook, written down and without secrets.

    A row and notebook that do not fit fail for good: trying again changes neither.
    """
    is_ours = isinstance(error, MillraceError)
    text = str(error) if is_ours else f"{type(error).__name__}: {error}"
    message = redactor.text(text)
    will_retry = order.will_retry and not isinstance(error, ContractError)
    outcome = Outcome("failed", message, will_retry=will_retry)
    _patiently(wiring, lambda: wiring.store.close_attempt(attempt, outcome))
    _log_outcome(attempt, outcome)
    if isinstance(error, ContractError):
        return ContractError(message)
    return NotebookFailed(message, cell=getattr(error, "cell", None))


def _log_outcome(attempt: Attempt, outcome: Outcome) -> None:
    log.log(
        logging.INFO if outcome.status == "success" else logging.ERROR,
        "The process run ended: %s %s",
        outcome.status,
        outcome.message,
        extra={"action": "attempt_closed", "run_id": attempt.run_id},
    )


def _patiently(wiring: Wiring, step: Callable[[], T]) -> T:
    """The step, again while the control database is away, with growing pauses."""
    give_up_at = time.monotonic() + wiring.patience_s
    pause_s = 0.5
    while True:
        try:
            return step()
        except ControlUnavailable as exc:
            if time.monotonic() + pause_s > give_up_at:
                raise
            log.warning(
                "The control database is away; trying again in %.0f s: %s",
                pause_s,
                exc,
                extra={"action": "control_awaited"},
            )
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 15.0)


def _default_wiring() -> Wiring:
    from millrace.runner.wiring import wired

    return wired(Settings.load())
