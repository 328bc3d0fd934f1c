"""Following a stream run process by process: what it looks like now, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from millrace.airflow.client import AirflowClient
from millrace.control.base import LogEntry, RunStore
from millrace.model import ProcessRun, RunIdentity, StreamRun

POLL_S = 0.5
ENDED = ("success", "failed")


@dataclass(frozen=True)
class ProcessView:
    """A process of the run as it stands."""

    process: str
    state: str
    attempt: int | None = None
    seconds: float | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    message: str = ""
    link: str = ""


@dataclass(frozen=True)
class RunView:
    """A stream's DAG run as it stands; `run` is None until its first task has begun."""

    state: str
    run: StreamRun | None
    processes: tuple[ProcessView, ...]

    @property
    def failed(self) -> tuple[ProcessView, ...]:
        """The processes that failed."""
        return tuple(p for p in self.processes if p.state == "failed")


@dataclass(frozen=True)
class Following:
    """One DAG run of a stream, and where its state is read."""

    store: RunStore
    client: AirflowClient
    stream_name: str
    dag_run_id: str
    process_names: Sequence[str]

    @property
    def dag_id(self) -> str:
        """The stream's DAG."""
        return f"stream__{self.stream_name}"

    def views(self) -> Iterator[RunView]:
        """How it stands, every half second, until it has ended."""
        while True:
            view = self.look()
            yield view
            if view.state in ENDED:
                return
            time.sleep(POLL_S)

    def look(self) -> RunView:
        """How it stands now. The DAG run is asked first: when it has ended, the rows have too."""
        state = str(self.client.dag_run(self.dag_id, self.dag_run_id)["state"])
        run = self.store.stream_run_of(self.stream_name, self.dag_run_id)
        if run is None:
            waiting = tuple(ProcessView(name, "waiting") for name in self.process_names)
            return RunView(state, None, waiting)
        return RunView(state, run, self._processes(run))

    def _processes(self, run: StreamRun) -> tuple[ProcessView, ...]:
        identities = [RunIdentity(n, run.data_date, run.generation) for n in self.process_names]
        rows = self.store.process_runs(identities)
        latest = self._latest_attempts()
        return tuple(self._view(i, rows.get(i), latest.get(i)) for i in identities)

    def _latest_attempts(self) -> dict[RunIdentity, LogEntry]:
        entries = self.store.log(
            stream_name=self.stream_name, limit=10 * len(self.process_names) + 50
        )
        return {entry.identity: entry for entry in reversed(entries)}

    def _view(
        self, identity: RunIdentity, row: ProcessRun | None, entry: LogEntry | None
    ) -> ProcessView:
        if row is None:
            return ProcessView(identity.process_name, "waiting")
        message = (entry.message if entry else "") or row.message or ""
        return ProcessView(
            process=identity.process_name,
            state=row.state,
            attempt=entry.attempt if entry else None,
            seconds=_seconds(entry),
            rows_in=entry.source_rows if entry else None,
            rows_out=entry.target_rows if entry else None,
            message=message,
            link=self.client.run_url(
                f"process__{identity.process_name}", row.dag_run_id or identity.run_id
            ),
        )


def _seconds(entry: LogEntry | None) -> float | None:
    if entry is None:
        return None
    return ((entry.ended_at or datetime.now(UTC)) - entry.started_at).total_seconds()
