"""The embedded stack as a whole: up, down, and how it stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from millrace.settings import Settings
from millrace.stack import (
    airflow,
    credentials,
    database,
    gateway,
    jupyter,
    part,
    ports,
    postgres,
    processes,
    restarts,
    supervisor,
)
from millrace.stack.lock import exclusive
from millrace.stack.part import Part
from millrace.stack.processes import Record

Report = Callable[[str, str], None]
"""Told (part, what happens) while the stack starts and stops."""


@dataclass(frozen=True)
class Standing:
    """How a part stands: what `millrace status` prints."""

    name: str
    state: str
    """running, starting, not answering, stopped or dead (was started, is not there any more)."""
    pid: int | None = None
    port: int | None = None
    memory_mb: int | None = None
    since: float | None = None
    restarts: int = 0
    """How often the supervisor started it again since the stack was last brought down."""


def parts(settings: Settings, *, lab: bool = True) -> tuple[Part, ...]:
    """Every part, in the order in which they start."""
    lab_part = (jupyter.part(settings),) if lab else ()
    return (
        postgres.part(settings),
        gateway.part(settings),
        *airflow.parts(settings),
        *lab_part,
        supervisor.part(settings),
    )


def up(
    settings: Settings, *, lab: bool = True, report: Report = lambda name, what: None
) -> Settings:
    """Start what does not run, wait until all is well; returns the settings with their secrets.

    PortTaken before anything was started; StackError naming the part that did not come up. What
    did start stays: a second `up` goes on from there, `down` ends it.
    """
    _folders(settings)
    with _lock(settings, report):
        ports.require_free(parts(settings, lab=lab))
        ready = credentials.ensure(settings)
        server, *others = parts(ready, lab=lab)
        _start_postgres(ready, server, report)
        early = [p for p in others if p.name in ("gateway", "jupyterlab")]
        for each in early:
            part.start(each)
        report("airflow", "preparing")
        airflow.prepare(ready)
        for each in others:
            part.start(each)
        _wait_all(others, report)
    return ready


def down(settings: Settings, *, report: Report = lambda name, what: None) -> None:
    """End every part and everything it started: the database last, Airflow's server before it."""
    _folders(settings)
    with _lock(settings, report):
        named = {p.name: p for p in parts(settings)}
        _stop(named.pop("supervisor"), report)
        restarts.forget(settings.home)
        last = [named.pop("api-server"), named.pop("postgres")]
        with ThreadPoolExecutor(len(named)) as pool:
            list(pool.map(lambda p: _stop(p, report), named.values()))
        for each in last:
            _stop(each, report)


def standings(settings: Settings) -> list[Standing]:
    """How every part stands now."""
    book = restarts.read(settings.home)
    return [
        replace(_standing(p), restarts=book[p.name].count if p.name in book else 0)
        for p in parts(settings)
    ]


def _start_postgres(settings: Settings, server: Part, report: Report) -> None:
    report(server.name, "starting")
    if not server.is_running:
        postgres.prepare(settings)
    part.start(server)
    part.wait_healthy(server)
    database.prepare(settings)
    report(server.name, "ready")


def _wait_all(waiting: Sequence[Part], report: Report) -> None:
    for each in waiting:
        report(each.name, "starting")
    for each in waiting:
        part.wait_healthy(each)
        report(each.name, "ready")


def _stop(each: Part, report: Report) -> None:
    if each.record is not None:
        report(each.name, "stopping")
        part.stop(each)
        report(each.name, "stopped")


def _standing(each: Part) -> Standing:
    port = each.port.number if each.port else None
    if (record := each.record) is None:
        return Standing(each.name, "stopped", port=port)
    if not processes.is_alive(record):
        return Standing(each.name, "dead", port=port)
    memory = processes.memory_bytes(processes.family(record)) // 1_000_000
    return Standing(each.name, _state(each, record), record.pid, port, memory, record.started_at)


def _state(each: Part, record: Record) -> str:
    if each.is_healthy(record):
        return "running"
    is_young = time.time() - record.started_at < each.start_timeout_s
    return "starting" if is_young else "not answering"


def _folders(settings: Settings) -> None:
    for name in ("run", "logs", "airflow", "lake"):
        (settings.home / name).mkdir(parents=True, exist_ok=True, mode=0o700)


def _lock(settings: Settings, report: Report) -> AbstractContextManager[None]:
    """One `up` or `down` at a time; a second one waits for the first."""
    told = "waiting for another millrace up or down"
    return exclusive(settings.home, lambda: report("stack", told))
