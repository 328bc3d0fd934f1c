"""The common shape of a part of the embedded stack, and what is done to any of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millrace.errors import StackError
from millrace.stack import processes
from millrace.stack.processes import Record

LOG_KEPT_BYTES = 20_000_000
"""A longer log is set aside at the part's next start, in place of the one set aside before."""


@dataclass(frozen=True)
class Port:
    """A port a part listens on, and the setting that changes it."""

    number: int
    setting: str


@dataclass(frozen=True)
class Part:
    """One process of the stack: how it is started, how it is known to be well, how it ends."""

    name: str
    command: tuple[str, ...]
    environment: Callable[[], Mapping[str, str]] = field(repr=False)
    directory: Path
    home: Path
    is_healthy: Callable[[Record], bool] = field(repr=False)
    port: Port | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    start_timeout_s: float = 120.0
    stop_patience_s: float = 20.0

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self.home / "logs" / f"{self.name}.log"

    @property
    def record_path(self) -> Path:
        """Where its process is recorded."""
        return self.home / "run" / f"{self.name}.json"

    @property
    def record(self) -> Record | None:
        """Its process as last started, alive or not."""
        return processes.read(self.record_path)

    @property
    def is_running(self) -> bool:
        """Whether its process is there; healthy or not."""
        return (record := self.record) is not None and processes.is_alive(record)


def start(part: Part) -> None:
    """Start the part unless it runs; does not wait for its health.

    What a killed predecessor left behind (its workers, kernels) is ended first. StackError where
    it runs on another port than asked for.
    """
    record = part.record
    if record is not None and processes.is_alive(record):
        _refuse_other_port(part, record)
        return
    if record is not None:
        processes.kill(processes.family(record))
    for folder in (part.log_path.parent, part.record_path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if part.log_path.is_file() and part.log_path.stat().st_size > LOG_KEPT_BYTES:
        part.log_path.replace(part.log_path.with_suffix(".log.1"))
    processes.launch(
        part.command,
        environment=part.environment(),
        directory=part.directory,
        log_path=part.log_path,
        record_path=part.record_path,
        port=part.port.number if part.port else None,
    )


def wait_healthy(part: Part) -> None:
    """Wait until the part is well; StackError with its last words when it ends or takes too long."""
    end = time.monotonic() + part.start_timeout_s
    while True:
        record = part.record
        if record is None or not processes.is_alive(record):
            raise StackError(f"{part.name} ended at its start: {last_words(part)}", cure=_see(part))
        if part.is_healthy(record):
            return
        if time.monotonic() > end:
            raise StackError(
                f"{part.name} is not ready after {part.start_timeout_s:.0f} s: {last_words(part)}",
                cure=_see(part),
            )
        time.sleep(0.1)


def stop(part: Part) -> None:
    """End the part and everything it started, and forget its record."""
    if (record := part.record) is None:
        return
    processes.stop(record, stop_signal=part.stop_signal, patience_s=part.stop_patience_s)
    part.record_path.unlink(missing_ok=True)


def last_words(part: Part) -> str:
    """The last line of its log that says something."""
    if not part.log_path.is_file():
        return "(no output)"
    lines = part.log_path.read_text(errors="replace").splitlines()[-40:]
    telling = [line.strip() for line in lines if line.strip()]
    errors = [line for line in telling if "error" in line.lower() or "fatal" in line.lower()]
    return (errors or telling or ["(no output)"])[-1][:300]


def _see(part: Part) -> str:
    return f"See {part.log_path}."


def _refuse_other_port(part: Part, record: Record) -> None:
    if part.port and record.port not in (None, part.port.number):
        raise StackError(
            f"{part.name} runs on port {record.port}, but {part.port.setting} says "
            f"{part.port.number}.",
            cure="Run `millrace down` first.",
        )
