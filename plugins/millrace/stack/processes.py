"""Detached processes: each in its own session, found again by process id and start time.

A record outlives its process: after a kill -9 the session's members that are still there are
found by the recorded session id, and a recycled process id is never taken for ours.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from millrace.errors import StackError
from millrace.stack.waiting import wait_until

_started: dict[int, subprocess.Popen[bytes]] = {}
"""Children of this very process, polled so that a dead one does not stay a zombie."""


@dataclass(frozen=True)
class Record:
    """A process that was started: its id, which is its session's too, and when it started."""

    pid: int
    started_at: float
    port: int | None = None


def launch(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    log_path: Path,
    record_path: Path,
    port: int | None = None,
) -> Record:
    """Start a command in its own session, its output appended to `log_path`; writes the record.

    StackError where the program is not there.
    """
    with log_path.open("ab") as log:
        try:
            child = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as exc:
            raise StackError(f"Cannot start {command[0]}: {exc.strerror}.") from exc
    _started[child.pid] = child
    record = Record(child.pid, psutil.Process(child.pid).create_time(), port)
    _write(record_path, record)
    return record


def read(record_path: Path) -> Record | None:
    """The record at that path, or None where there is none (or half a one)."""
    try:
        return Record(**json.loads(record_path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_alive(record: Record) -> bool:
    """Whether the very process of the record still runs."""
    if (child := _started.get(record.pid)) is not None:
        child.poll()
    try:
        process = psutil.Process(record.pid)
        return _is_same(process, record) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(record: Record) -> list[psutil.Process]:
    """Every live process of the record's session, and their children in sessions of their own.

    A kernel or a task supervisor starts its own session; it is found as a descendant.
    """
    members = [p for p in psutil.process_iter() if _session(p.pid) == record.pid]
    if _is_recycled(record):
        return []
    found = {p.pid: p for p in members}
    for member in members:
        with suppress(psutil.NoSuchProcess):
            found |= {child.pid: child for child in member.children(recursive=True)}
    return list(found.values())


def stop(
    record: Record,
    *,
    stop_signal: signal.Signals = signal.SIGTERM,
    patience_s: float = 20.0,
) -> None:
    """Ask the leader to end, give it `patience_s`, then kill whatever of its family is left."""
    members = family(record)
    if is_alive(record):
        with suppress(ProcessLookupError):
            os.kill(record.pid, stop_signal)
        _settled(lambda: not is_alive(record), patience_s)
    kill(merge(members, family(record)))


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL, and wait until they are gone; processes that ended meanwhile are fine."""
    ending = list(processes)
    for process in ending:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for pid in {p.pid for p in ending} & _started.keys():
        _started[pid].wait(timeout=10)
    psutil.wait_procs(ending, timeout=10)


def merge(*groups: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Each process once."""
    return list({p.pid: p for group in groups for p in group}.values())


def memory_bytes(processes: Iterable[psutil.Process]) -> int:
    """What the processes hold together: proportional shares where readable, else resident size."""
    return sum(_memory_bytes(process) for process in processes)


def _memory_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss) if process.is_running() else 0
    except (psutil.NoSuchProcess, AttributeError):
        return 0


def _settled(condition: Callable[[], bool], timeout_s: float) -> bool:
    return wait_until(condition, timeout_s=timeout_s, poll_s=0.05)


def _is_same(process: psutil.Process, record: Record) -> bool:
    return abs(process.create_time() - record.started_at) < 1.0


def _is_recycled(record: Record) -> bool:
    try:
        return not _is_same(psutil.Process(record.pid), record)
    except psutil.NoSuchProcess:
        return False


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _write(path: Path, record: Record) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record)))
    partial.replace(path)
