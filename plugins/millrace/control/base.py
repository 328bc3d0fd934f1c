"""The port to the control tables: reads rows, keeps snapshots, arbitrates and records runs.

Sync, like the lake and the vectors. The adapter is control/postgres.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, Protocol

from millrace.model import (
    Attempt,
    ControlRows,
    Outcome,
    ProcessRun,
    RunIdentity,
    RunState,
    StreamRun,
)


@dataclass(frozen=True)
class Snapshot:
    """The content of one control version (control.snapshot)."""

    control_version: str
    content: Mapping[str, Any]
    format: int = 1


@dataclass(frozen=True)
class Request:
    """Somebody wants a process run done: a task of a stream DAG or of a dependent's DAG."""

    identity: RunIdentity
    stream_name: str
    control_version: str
    requested_by: str
    """The requesting DAG run's id and how often it was cleared: `<run id>#<clear number>`."""
    began_at: datetime
    """When the requesting attempt began: a failure before it is restarted, a later one propagates."""
    redo: bool = False
    """A person cleared the requesting task: a success before `began_at` is run again too."""


@dataclass(frozen=True)
class Decision:
    """What the arbiter says to a Request."""

    verdict: Literal["start", "restart", "wait", "done", "failed"]
    run: ProcessRun


@dataclass(frozen=True)
class LogEntry:
    """One attempt as people look at it (control.run_log)."""

    run_id: str
    identity: RunIdentity
    stream_name: str
    attempt: int
    status: str
    started_at: datetime
    ended_at: datetime | None
    source_rows: int | None
    target_rows: int | None
    tokens_in: int | None
    tokens_out: int | None
    llm_seconds: float | None
    message: str
    control_version: str
    executed_notebook_uri: str | None
    dag_run_id: str | None
    fence: int


class ControlStore(Protocol):
    """Rows and snapshots: what the bundle, `check` and the runner read."""

    def read_rows(self, *, deadline_s: float = 2.0) -> ControlRows:
        """All rows, inactive ones too, in one query, or ControlUnavailable after `deadline_s` on the client's clock."""
        ...

    def save_snapshot(self, snapshot: Snapshot, *, deadline_s: float = 2.0) -> None:
        """Keep a version for ever it is referred to; saving it again makes it the latest."""
        ...

    def load_snapshot(self, control_version: str | None = None) -> Snapshot:
        """One version, or the latest; UnknownName where there is none."""
        ...

    def latest_version(self) -> str:
        """The newest snapshot's control version; UnknownName where there is none."""
        ...

    def prune_snapshots(self, *, keep_latest: int) -> int:
        """Delete versions that no run refers to, beyond the latest ones; how many went."""
        ...


class RunStore(Protocol):
    """The arbiter and the log of runs. Every method is one transaction."""

    def open_stream_run(
        self,
        stream_name: str,
        data_date: date,
        *,
        dag_run_id: str,
        clear_number: int,
        control_version: str,
        new_generation: bool,
    ) -> StreamRun:
        """The generation this DAG run works on: what it opened or joined before, else a new or the latest one.

        Idempotent per (dag_run_id, clear_number): every task of the DAG run calls it and gets the
        same answer. A cleared DAG run keeps its generation and takes `control_version` as the
        stream run's current one, as does another DAG run that joins; the first call decides.
        """
        ...

    def stream_run_of(self, stream_name: str, dag_run_id: str) -> StreamRun | None:
        """The stream run that a stream's DAG run opened or joined."""
        ...

    def close_stream_run(
        self, run: StreamRun, state: Literal["success", "failed"], message: str
    ) -> None:
        """Write how the stream run ended (state, ended_at, message)."""
        ...

    def stream_runs(
        self, stream_name: str | None = None, *, limit: int = 20
    ) -> Sequence[StreamRun]:
        """Newest first, with their states."""
        ...

    def latest_generation(self, process_name: str, data_date: date) -> int:
        """The newest generation of the process's runs for that day, else 1."""
        ...

    def request(self, request: Request) -> Decision:
        """Start or join, under the process run's row lock.

        absent -> start; live -> wait; success -> done (restart if redo and it ended before
        began_at); failed -> restart if it ended before began_at, else failed. start and restart
        leave the run 'queued' with `requested_by` and `control_version` written.
        """
        ...

    def process_run(self, identity: RunIdentity) -> ProcessRun | None:
        """The arbiter's row, or None."""
        ...

    def process_run_of(self, process_name: str, dag_run_id: str) -> ProcessRun | None:
        """The run that a process's DAG run executes or asked for (dag_run_id, requested_by)."""
        ...

    def process_runs(self, identities: Sequence[RunIdentity]) -> Mapping[RunIdentity, ProcessRun]:
        """Many rows in one query."""
        ...

    def open_attempt(
        self,
        identity: RunIdentity,
        *,
        stream_name: str,
        dag_run_id: str,
        control_version: str,
        clear_number: int,
    ) -> Attempt | None:
        """Take the run: fence + 1, a 'running' run_log row; None if it is success already.

        An earlier attempt still 'running' in the log is closed as 'crashed'. A success is
        reopened only when `clear_number` is higher than the one it was recorded with.
        AlreadyRunning when a live attempt (fresh heartbeat) belongs to another DAG run.
        """
        ...

    def heartbeat(self, attempt: Attempt) -> None:
        """The attempt lives; StaleFence when another has taken over."""
        ...

    def close_attempt(self, attempt: Attempt, outcome: Outcome) -> None:
        """Write how it ended, under the fence (SELECT ... FOR SHARE); StaleFence when it was taken over."""
        ...

    def mark(
        self,
        identity: RunIdentity,
        state: RunState,
        message: str,
        *,
        stream_name: str = "",
        dag_run_id: str | None = None,
    ) -> None:
        """Set the arbiter's state from outside an attempt: a person's mark, a failure before the notebook.

        Raises the fence, so that an attempt still at work writes nothing more, and closes its
        run_log row with `state` and `message`; with no open attempt it writes a run_log row of
        its own, so that the log tells what happened.
        """
        ...

    def crash_lost(self, *, silent_for_s: float) -> Sequence[LogEntry]:
        """Close attempts whose heartbeat stopped that long ago as 'crashed'; what was closed."""
        ...

    def log(
        self, *, stream_name: str | None = None, process_name: str | None = None, limit: int = 50
    ) -> Sequence[LogEntry]:
        """Newest attempts first."""
        ...
