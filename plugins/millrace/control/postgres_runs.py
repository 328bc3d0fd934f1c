"""The arbiter and the log of runs in Postgres (control.stream_run, process_run, run_log)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import date
from typing import Any, Literal

from millrace.control.arbiter import may_take, state_after, verdict
from millrace.control.base import Decision, LogEntry, Request
from millrace.control.postgres import STATEMENTS
from millrace.control.session import Session, open_session
from millrace.errors import StaleFence, UnknownName
from millrace.model import (
    LIVE_STATES,
    Attempt,
    Outcome,
    ProcessRun,
    RunIdentity,
    RunState,
    StreamRun,
)

FRESH_S = 60.0
"""A heartbeat younger than this is a sign of life."""

_TAKEN_OVER = "taken over by another attempt; its own end was never heard of"
_LOST = "no sign of life for more than {:g} s: the task that ran it is gone"


class PostgresRuns:
    """The RunStore of base.py; a connection and a transaction per call.

    `deadline_s` bounds a call on the client's clock, waits for locks included; `fresh_s` is the
    age at which a heartbeat stops to protect an attempt from another DAG run.
    """

    def __init__(
        self, database_url: str, *, deadline_s: float = 60.0, fresh_s: float = FRESH_S
    ) -> None:
        self._url = database_url
        self._deadline_s = deadline_s
        self._fresh_s = fresh_s

    # Stream runs

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
        """Open or join a generation; see RunStore."""
        values: dict[str, Any] = {
            "stream_name": stream_name,
            "data_date": data_date,
            "dag_run_id": dag_run_id,
            "clear_number": clear_number,
            "control_version": control_version,
        }
        with self._transaction() as session:
            session.rows(STATEMENTS["lock_stream_day"], values)
            member = session.row(STATEMENTS["find_member"], values)
            if member is None:
                values["generation"] = _generation(session, values, new_generation)
                session.rows(STATEMENTS["open_stream_run"], values)
                session.rows(STATEMENTS["join_stream_run"], values)
                [member] = session.rows(STATEMENTS["find_member"], values)
        return StreamRun(**member)

    def stream_run_of(self, stream_name: str, dag_run_id: str) -> StreamRun | None:
        """The stream run that a stream's DAG run opened or joined."""
        values = {"stream_name": stream_name, "dag_run_id": dag_run_id, "clear_number": None}
        with self._session() as session:
            found = session.row(STATEMENTS["find_member"], values)
        return None if found is None else StreamRun(**found)

    def close_stream_run(
        self, run: StreamRun, state: Literal["success", "failed"], message: str
    ) -> None:
        """Write how the stream run ended; UnknownName where it was never opened."""
        values = {**asdict(run), "state": state, "message": message}
        with self._session() as session:
            if not session.rows(STATEMENTS["close_stream_run"], values):
                raise UnknownName(
                    f"No run of stream {run.stream_name} for {run.data_date}, "
                    f"generation {run.generation}.",
                    cure="See `millrace runs`.",
                )

    def stream_runs(
        self, stream_name: str | None = None, *, limit: int = 20
    ) -> Sequence[StreamRun]:
        """Newest first, with their states."""
        values = {"stream_name": stream_name, "limit": limit}
        with self._session() as session:
            return [StreamRun(**row) for row in session.rows(STATEMENTS["stream_runs"], values)]

    # The arbiter

    def latest_generation(self, process_name: str, data_date: date) -> int:
        """The newest generation of the process's runs for that day, else 1."""
        values = {"process_name": process_name, "data_date": data_date}
        with self._session() as session:
            [found] = session.rows(STATEMENTS["latest_generation"], values)
        return int(found["generation"])

    def request(self, request: Request) -> Decision:
        """Start or join, under the process run's row lock; see RunStore."""
        values = {**asdict(request), **asdict(request.identity)}
        with self._transaction() as session:
            started = session.row(STATEMENTS["queue_absent"], values)
            if started is not None:
                return Decision("start", _process_run(started))
            run = self._locked(session, request.identity)
            assert run is not None, "a process run in conflict is there to be locked"
            decided = verdict(_process_run(run), request)
            if decided == "restart":
                [run] = session.rows(STATEMENTS["queue_again"], values)
            return Decision(decided, _process_run(run))

    def process_run(self, identity: RunIdentity) -> ProcessRun | None:
        """The arbiter's row, or None."""
        with self._session() as session:
            found = session.row(STATEMENTS["process_run"], asdict(identity))
        return None if found is None else _process_run(found)

    def process_run_of(self, process_name: str, dag_run_id: str) -> ProcessRun | None:
        """The run that a process's DAG run executes or asked for (dag_run_id, requested_by)."""
        values = {"process_name": process_name, "dag_run_id": dag_run_id}
        with self._session() as session:
            found = session.row(STATEMENTS["process_run_of"], values)
        return None if found is None else _process_run(found)

    def process_runs(self, identities: Sequence[RunIdentity]) -> Mapping[RunIdentity, ProcessRun]:
        """Many rows in one query."""
        values = {
            "process_names": [i.process_name for i in identities],
            "data_dates": [i.data_date for i in identities],
            "generations": [i.generation for i in identities],
        }
        with self._session() as session:
            runs = [_process_run(row) for row in session.rows(STATEMENTS["process_runs"], values)]
        return {run.identity: run for run in runs}

    # Attempts

    def open_attempt(
        self,
        identity: RunIdentity,
        *,
        stream_name: str,
        dag_run_id: str,
        control_version: str,
        clear_number: int,
    ) -> Attempt | None:
        """Take the run, or None if it is success already; see RunStore."""
        token = secrets.token_urlsafe(32)
        values = {
            **asdict(identity),
            "run_id": identity.run_id,
            "stream_name": stream_name,
            "dag_run_id": dag_run_id,
            "control_version": control_version,
            "clear_number": clear_number,
            "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
        }
        with self._transaction() as session:
            run = self._locked(session, identity)
            if run is not None and not may_take(
                _process_run(run),
                dag_run_id,
                recorded_clears=run["clear_number"],
                clears=clear_number,
                is_fresh=bool(run["is_fresh"]),
            ):
                return None
            fence = session.rows(STATEMENTS["take_run"], values)[0]["fence"]
            _close_open_log(session, identity, "crashed", _TAKEN_OVER)
            log = values | {"fence": fence}
            number = session.rows(STATEMENTS["open_log"], log)[0]["attempt"]
        return Attempt(
            identity.run_id, identity, stream_name, number, fence, control_version, token
        )

    def heartbeat(self, attempt: Attempt) -> None:
        """The attempt lives; StaleFence when another has taken over."""
        values = {**asdict(attempt.identity), "fence": attempt.fence}
        with self._session() as session:
            found = session.row(STATEMENTS["heartbeat"], values)
        if found is None or not found["holds"]:
            raise _stale(attempt)

    def close_attempt(self, attempt: Attempt, outcome: Outcome) -> None:
        """Write how it ended, under the fence; StaleFence when it was taken over."""
        values = {
            **asdict(attempt.identity),
            **asdict(outcome),
            "run_id": attempt.run_id,
            "fence": attempt.fence,
            "state": state_after(outcome),
        }
        with self._transaction() as session:
            run = self._locked(session, attempt.identity)
            if run is None or run["fence"] != attempt.fence or run["state"] != "running":
                raise _stale(attempt)
            session.rows(STATEMENTS["close_log"], values)
            session.rows(STATEMENTS["leave_run"], values)

    def mark(
        self,
        identity: RunIdentity,
        state: RunState,
        message: str,
        *,
        stream_name: str = "",
        dag_run_id: str | None = None,
    ) -> None:
        """Set the arbiter's state from outside an attempt; see RunStore."""
        values = {
            **asdict(identity),
            "run_id": identity.run_id,
            "state": state,
            "message": message,
            "stream_name": stream_name,
            "dag_run_id": dag_run_id,
        }
        with self._transaction() as session:
            [run] = session.rows(STATEMENTS["mark_run"], values)
            status = "crashed" if state in LIVE_STATES else state
            closed = _close_open_log(session, identity, status, message)
            if not closed and state not in LIVE_STATES:
                session.rows(STATEMENTS["open_mark_log"], {**values, **run, "status": state})

    def crash_lost(self, *, silent_for_s: float) -> Sequence[LogEntry]:
        """Close attempts whose heartbeat stopped that long ago as 'crashed'; what was closed."""
        message = _LOST.format(silent_for_s)
        closed: list[dict[str, Any]] = []
        with self._transaction() as session:
            values = {"silent_for_s": silent_for_s, "message": message}
            for run in session.rows(STATEMENTS["crash_lost"], values):
                closed += _close_open_log(session, _identity(run), "crashed", message)
        return [_log_entry(row) for row in closed]

    def log(
        self, *, stream_name: str | None = None, process_name: str | None = None, limit: int = 50
    ) -> Sequence[LogEntry]:
        """Newest attempts first."""
        values = {"stream_name": stream_name, "process_name": process_name, "limit": limit}
        with self._session() as session:
            return [_log_entry(row) for row in session.rows(STATEMENTS["log"], values)]

    def _session(self) -> AbstractContextManager[Session]:
        return open_session(self._url, self._deadline_s)

    def _transaction(self) -> AbstractContextManager[Session]:
        return open_session(self._url, self._deadline_s, transaction=True)

    def _locked(self, session: Session, identity: RunIdentity) -> dict[str, Any] | None:
        values = {**asdict(identity), "fresh_s": self._fresh_s}
        return session.row(STATEMENTS["lock_run"], values)


def _generation(session: Session, values: Mapping[str, Any], new_generation: bool) -> int:
    [found] = session.rows(STATEMENTS["find_generation"], values)
    if found["own"] is not None:
        return int(found["own"])
    newest = int(found["newest"] or 0)
    return newest + 1 if new_generation else max(newest, 1)


def _close_open_log(
    session: Session, identity: RunIdentity, status: str, message: str
) -> list[dict[str, Any]]:
    values = {**asdict(identity), "status": status, "message": message}
    return session.rows(STATEMENTS["close_open_log"], values)


def _stale(attempt: Attempt) -> StaleFence:
    return StaleFence(
        f"Attempt {attempt.attempt} of {attempt.run_id} no longer holds its run "
        f"(fence {attempt.fence}); nothing more is written by it."
    )


def _identity(row: Mapping[str, Any]) -> RunIdentity:
    return RunIdentity(row["process_name"], row["data_date"], row["generation"])


def _process_run(row: Mapping[str, Any]) -> ProcessRun:
    return ProcessRun(
        identity=_identity(row),
        stream_name=row["stream_name"],
        state=row["state"],
        fence=row["fence"],
        control_version=row["control_version"] or "",
        dag_run_id=row["dag_run_id"],
        requested_by=row["requested_by"],
        queued_at=row["queued_at"],
        heartbeat_at=row["heartbeat_at"],
        ended_at=row["ended_at"],
        message=row["message"],
    )


def _log_entry(row: Mapping[str, Any]) -> LogEntry:
    given = {k: v for k, v in row.items() if k in LogEntry.__dataclass_fields__}
    return LogEntry(
        **given | {"identity": _identity(row), "control_version": row["control_version"] or ""}
    )
