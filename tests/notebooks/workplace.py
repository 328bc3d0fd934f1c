"""A runner's surroundings in memory: one stream, one process, its runs, its lake in a folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, cast

import nbformat

from millrace.control.base import ControlStore, RunStore, Snapshot
from millrace.errors import ControlUnavailable, StaleFence
from millrace.lake import open_lake
from millrace.model import (
    Attempt,
    Outcome,
    Process,
    ProcessGroup,
    ProcessSpec,
    RunIdentity,
    SourceFile,
    Stream,
)
from millrace.runner import RunOrder, Wiring
from millrace.settings import Settings

IDENTITY = RunIdentity("recommend", date(2026, 11, 20), 1)
VERSION = "0123456789abcdef"
TOKEN = "attempt-token-3f9c1d77"


@dataclass
class MemoryRuns:
    """What the runner needs of the control store, kept in lists for tests to look at."""

    fence: int = 0
    heartbeats: int = 0
    is_done: bool = False
    down_for_calls: int = 0
    content: Mapping[str, Any] = field(default_factory=dict)
    outcomes: list[tuple[Attempt, Outcome]] = field(default_factory=list)
    beaten: threading.Event = field(default_factory=threading.Event)

    def open_attempt(self, identity: RunIdentity, **_: Any) -> Attempt | None:
        self._answer()
        if self.is_done:
            return None
        self.fence += 1
        return Attempt(
            f"{identity.run_id}#{self.fence}", identity, "shop", 1, self.fence, VERSION, TOKEN
        )

    def heartbeat(self, attempt: Attempt) -> None:
        self.heartbeats += 1
        self.beaten.set()
        self._answer()
        self._check(attempt)

    def close_attempt(self, attempt: Attempt, outcome: Outcome) -> None:
        self._answer()
        self._check(attempt)
        self.outcomes.append((attempt, outcome))

    def load_snapshot(self, control_version: str | None = None) -> Snapshot:
        self._answer()
        return Snapshot(control_version or VERSION, self.content)

    def take_over(self) -> None:
        """Another attempt opens."""
        self.fence += 1

    def _check(self, attempt: Attempt) -> None:
        if attempt.fence != self.fence:
            raise StaleFence()

    def _answer(self) -> None:
        if self.down_for_calls > 0:
            self.down_for_calls -= 1
            raise ControlUnavailable()


@dataclass(frozen=True)
class Workplace:
    """A temporary project with one process; `wiring()` is what run_process works with."""

    folder: Path
    runs: MemoryRuns = field(default_factory=MemoryRuns)

    @property
    def notebooks(self) -> Path:
        return self.folder / "notebooks"

    @property
    def lake_folder(self) -> Path:
        return self.folder / "lake"

    def settings(self, **environ: str) -> Settings:
        return Settings.load(
            {
                "MILLRACE_PROJECT_DIR": str(self.folder),
                "MILLRACE_HOME": str(self.folder / "home"),
                "MILLRACE_NOTEBOOKS_DIR": str(self.notebooks),
                "MILLRACE_LAKE_URL": self.lake_folder.as_uri(),
                **environ,
            }
        )

    def write(self, name: str, *cells: str, parameters: str | None = "") -> Path:
        """A notebook of code cells below its parameters cell (None: without one)."""
        code = [nbformat.v4.new_code_cell(source) for source in cells]
        first = nbformat.v4.new_code_cell(parameters or "", metadata={"tags": ["parameters"]})
        notebook = nbformat.v4.new_notebook(cells=code if parameters is None else [first, *code])
        return self.write_text(name, nbformat.writes(notebook))

    def write_text(self, name: str, text: str) -> Path:
        path = self.notebooks / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def order(self, *, will_retry: bool = False) -> RunOrder:
        return RunOrder(IDENTITY, "shop", "manual__1", 0, VERSION, will_retry)

    def wiring(
        self,
        spec: ProcessSpec,
        *,
        environ: Mapping[str, str] | None = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> Wiring:
        self.runs.content = snapshot_content(spec)
        return Wiring(
            store=cast(RunStore, self.runs),
            snapshots=cast(ControlStore, self.runs),
            lake=open_lake(self.lake_folder.as_uri()),
            settings=settings or self.settings(),
            environ=environ or {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            **{"heartbeat_s": 0.2, "grace_s": 1.0, **options},
        )

    @property
    def outcome(self) -> Outcome:
        """The one outcome that was recorded."""
        ((_, outcome),) = self.runs.outcomes
        return outcome

    def lake_text(self) -> str:
        """Everything that lies in the lake."""
        files = [p for p in self.lake_folder.rglob("*") if p.is_file()]
        return "\n".join(p.read_text(errors="replace") for p in files)


def row(
    notebook_path: str = "step.ipynb",
    *,
    parameters: Mapping[str, Any] | None = None,
    stream_parameters: Mapping[str, Any] | None = None,
    source_file: SourceFile | None = None,
    **columns: Any,
) -> ProcessSpec:
    """A process's row with its stream and group."""
    return ProcessSpec(
        process=Process(
            "recommend",
            "answers",
            notebook_path,
            parameters=parameters or {},
            source_file=source_file.source_file if source_file else None,
            **columns,
        ),
        group=ProcessGroup("answers", "shop"),
        stream=Stream("shop", question="What sells?", parameters=stream_parameters or {}),
        source_file=source_file,
        dependencies=(),
        dependency_streams={},
    )


def snapshot_content(spec: ProcessSpec) -> dict[str, Any]:
    """A snapshot's content that holds this one process."""
    entry = {
        "stream": asdict(spec.stream),
        "groups": [asdict(spec.group)],
        "processes": [asdict(spec.process)],
        "dependencies": [],
        "source_files": [asdict(spec.source_file)] if spec.source_file else [],
        "schedule": None,
        "faults": [],
    }
    return {"format": 1, "streams": {spec.stream.stream_name: entry}}


def executed_cells(workplace: Workplace) -> list[Any]:
    """The cells of the executed notebook in the lake."""
    (path,) = workplace.lake_folder.rglob("notebook.ipynb")
    return list(nbformat.read(path, as_version=4).cells)


def until(condition: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    """Waits for it; fails where it does not come about."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come about"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
