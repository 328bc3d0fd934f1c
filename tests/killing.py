"""Who can be killed in a running stack: its parts, its busy workers, their tasks, the kernels."""

from __future__ import annotations

import signal
from contextlib import suppress
from random import Random

import psutil

from millrace.settings import Settings
from millrace.stack import embedded, processes
from millrace.stack.part import Part

WORKER = "airflow worker -- LocalExecutor"
KERNEL = "millrace.runner.kernel"
KINDS = ("scheduler", "triggerer", "worker", "task", "kernel")


def part_of(settings: Settings, name: str) -> Part:
    """A part of the stack by name."""
    [found] = [p for p in embedded.parts(settings) if p.name == name]
    return found


def victims(settings: Settings, kind: str) -> list[psutil.Process]:
    """The processes of a kind that are there now.

    `worker` is what supervises a task, `task` the process it forked for it; an idle worker is
    none, for it holds the lock of the queue that all workers share.
    """
    if kind not in ("worker", "task", "kernel"):
        each = part_of(settings, kind)
        return [psutil.Process(r.pid) for r in [each.record] if r and each.is_running]
    record = part_of(settings, "scheduler").record
    family = processes.family(record) if record else []
    if kind == "kernel":
        return [p for p in family if KERNEL in _title(p)]
    workers = [p for p in family if _is_busy(_title(p))]
    return workers if kind == "worker" else [child for w in workers for child in _children(w)]


def kill_one(settings: Settings, kind: str, chance: Random) -> bool:
    """SIGKILL one process of that kind; whether there was one, and it is gone."""
    for victim in chance.sample(found := victims(settings, kind), len(found)):
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
            psutil.wait_procs([victim], timeout=10)
            return True
    return False


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def _is_busy(title: str) -> bool:
    return title.startswith(WORKER) and "<idle>" not in title


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []
