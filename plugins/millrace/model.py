"""The entities of the glossary as plain frozen values. No I/O, no third-party imports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

NAME_PATTERN = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.-]{1,200}\Z")
"""Names become DAG ids, run ids and file names: dots alone are none. To be used with match()."""

OnFailure = Literal["stop", "continue"]
RunState = Literal["queued", "running", "retrying", "success", "failed", "skipped"]
AttemptStatus = Literal["running", "success", "failed", "crashed", "skipped"]

LIVE_STATES: frozenset[RunState] = frozenset({"queued", "running", "retrying"})
"""States of a process run that somebody is, or will be, working on."""


@dataclass(frozen=True)
class Stream:
    """A named workflow with an owner (control.stream)."""

    stream_name: str
    description: str = ""
    question: str = ""
    owner: str = "millrace"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    time_zone: str = "UTC"
    is_live: bool = True
    data_date: date | None = None
    max_active_runs: int = 1
    catchup: bool = False
    notify: str | None = None


@dataclass(frozen=True)
class ProcessGroup:
    """A process group of a stream; lowest priority number runs first (control.process_group)."""

    group_name: str
    stream_name: str
    priority: int = 0
    on_failure: OnFailure = "stop"


@dataclass(frozen=True)
class Process:
    """One notebook with parameters, in exactly one group (control.process)."""

    process_name: str
    group_name: str
    notebook_path: str
    priority: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source_file: str | None = None
    embed_model: str | None = None
    gen_model: str | None = None
    collection: str | None = None
    retries: int = 0
    retry_delay_s: int = 60
    timeout_s: int = 3600
    memory_limit_mb: int | None = None
    pool: str = "default_pool"
    llm_priority: str = "batch"


@dataclass(frozen=True)
class Dependency:
    """`process_name` needs `depends_on` first, in any stream (control.process_dependency)."""

    process_name: str
    depends_on: str
    is_active: bool = True


@dataclass(frozen=True)
class SourceFile:
    """How to read and chunk a process's source documents (control.source_file)."""

    source_file: str
    file_type: str
    delimiter: str | None = None
    chunk_size: int = 256
    chunk_overlap: int = 32
    lake_prefix: str = ""


@dataclass(frozen=True)
class Schedule:
    """A stream's cron line, in the stream's time zone (control.schedule)."""

    stream_name: str
    minute: str
    hour: str
    day_of_month: str
    month: str
    day_of_week: str
    created_at: datetime

    @property
    def cron(self) -> str:
        """The five fields as one cron expression."""
        return f"{self.minute} {self.hour} {self.day_of_month} {self.month} {self.day_of_week}"


@dataclass(frozen=True)
class RunIdentity:
    """What a process run is: it happens once, in one or more attempts (control.process_run)."""

    process_name: str
    data_date: date
    generation: int

    @property
    def run_id(self) -> str:
        """The id of its DAG run: `<process>__<data date>__g<generation>`."""
        return f"{self.process_name}__{self.data_date.isoformat()}__g{self.generation}"

    def attempt_folder(self, fence: int) -> str:
        """Lake prefix of an attempt: `runs/<process>/<data date>/g<generation>/attempt-<fence>`."""
        day = self.data_date.isoformat()
        return f"runs/{self.process_name}/{day}/g{self.generation}/attempt-{fence}"

    @classmethod
    def parse(cls, run_id: str) -> RunIdentity | None:
        """The identity a DAG run id spells, or None where a person or Airflow made the id."""
        match = re.fullmatch(r"(.+)__(\d{4}-\d{2}-\d{2})__g(\d+)", run_id)
        if match is None:
            return None
        try:
            return cls(match[1], date.fromisoformat(match[2]), int(match[3]))
        except ValueError:
            return None


@dataclass(frozen=True)
class StreamRun:
    """One run of a stream: (stream, data date, generation), on one snapshot (control.stream_run)."""

    stream_name: str
    data_date: date
    generation: int
    control_version: str
    state: Literal["running", "success", "failed"] = "running"
    opened_at: datetime | None = None
    ended_at: datetime | None = None
    message: str = ""


@dataclass(frozen=True)
class ProcessRun:
    """The arbiter's row of a process run (control.process_run)."""

    identity: RunIdentity
    stream_name: str
    state: RunState
    fence: int
    control_version: str
    dag_run_id: str | None
    requested_by: str | None
    queued_at: datetime
    heartbeat_at: datetime | None
    ended_at: datetime | None
    message: str | None


@dataclass(frozen=True)
class Attempt:
    """One try at a process run, holding its fence (control.run_log).

    `token` lets the attempt's kernel, and nothing else, read this run and write its effects.
    """

    run_id: str
    identity: RunIdentity
    stream_name: str
    attempt: int
    fence: int
    control_version: str
    token: str


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended; what close_attempt writes to control.run_log."""

    status: AttemptStatus
    message: str = ""
    will_retry: bool = False
    executed_notebook_uri: str | None = None
    notebook_sha256: str | None = None


@dataclass(frozen=True)
class ProcessSpec:
    """All that a process run needs from one snapshot: its row, its stream, what hangs off it."""

    process: Process
    group: ProcessGroup
    stream: Stream
    source_file: SourceFile | None
    dependencies: tuple[Dependency, ...]
    dependency_streams: Mapping[str, str]
    """depends_on -> the stream it belongs to, for the dependencies that are active processes."""


@dataclass(frozen=True)
class ControlRows:
    """All rows of the control tables, inactive ones too, as one consistent read.

    Values are kept as they stand in the database (JSON types): plan.py judges them, so that a
    bad row is a fault of its stream and not an exception here.
    """

    streams: Sequence[Mapping[str, Any]]
    groups: Sequence[Mapping[str, Any]]
    processes: Sequence[Mapping[str, Any]]
    dependencies: Sequence[Mapping[str, Any]]
    source_files: Sequence[Mapping[str, Any]]
    schedules: Sequence[Mapping[str, Any]]
    busy: frozenset[str] = frozenset()
    """Names of processes with a live run: not to be dropped or moved now."""
    latest_version: str | None = None
    """The newest snapshot's control version."""
