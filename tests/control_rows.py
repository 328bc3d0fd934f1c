"""Control rows for tests of the plan, as the control store reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millrace.model import ControlRows

Row = dict[str, Any]


def stream(name: str, **columns: Any) -> Row:
    """A row of control.stream."""
    return {
        "stream_name": name,
        "description": "",
        "question": "why?",
        "owner": "ola",
        "parameters": {},
        "time_zone": "Europe/Berlin",
        "is_live": True,
        "data_date": None,
        "max_active_runs": 1,
        "catchup": False,
        "notify": None,
        "is_active": True,
    } | columns


def group(name: str, stream_name: str, priority: int = 0, **columns: Any) -> Row:
    """A row of control.process_group."""
    return {
        "group_name": name,
        "stream_name": stream_name,
        "priority": priority,
        "on_failure": "stop",
        "is_active": True,
    } | columns


def process(name: str, group_name: str, priority: int = 0, **columns: Any) -> Row:
    """A row of control.process."""
    return {
        "process_name": name,
        "group_name": group_name,
        "priority": priority,
        "notebook_path": "demo/x.ipynb",
        "parameters": {"top_k": 5},
        "source_file": None,
        "embed_model": None,
        "gen_model": None,
        "collection": None,
        "retries": 1,
        "retry_delay_s": 5,
        "timeout_s": 60,
        "memory_limit_mb": None,
        "pool": "default_pool",
        "llm_priority": "batch",
        "is_active": True,
    } | columns


def dependency(name: str, depends_on: str, is_active: Any = True) -> Row:
    """A row of control.process_dependency."""
    return {"process_name": name, "depends_on": depends_on, "is_active": is_active}


def source_file(name: str, **columns: Any) -> Row:
    """A row of control.source_file."""
    return {
        "source_file": name,
        "file_type": "csv",
        "delimiter": ",",
        "chunk_size": 256,
        "chunk_overlap": 32,
        "lake_prefix": "raw/",
    } | columns


def schedule(stream_name: str, **columns: Any) -> Row:
    """A row of control.schedule."""
    return {
        "stream_name": stream_name,
        "minute": "0",
        "hour": "6",
        "day_of_month": "*",
        "month": "*",
        "day_of_week": "mon-fri",
        "is_active": True,
        "created_at": "2026-11-20T06:00:00+00:00",
    } | columns


Tables = dict[str, list[Row]]


def control_rows(
    tables: Tables, *, busy: Sequence[str] = (), latest_version: str | None = None
) -> ControlRows:
    """The rows as one read; tables that are left out are empty."""
    return ControlRows(
        streams=tables.get("streams", []),
        groups=tables.get("groups", []),
        processes=tables.get("processes", []),
        dependencies=tables.get("dependencies", []),
        source_files=tables.get("source_files", []),
        schedules=tables.get("schedules", []),
        busy=frozenset(busy),
        latest_version=latest_version,
    )


def house(streams: int = 3) -> Tables:
    """`streams` whole streams s0, s1, ...: two groups, four processes, a source file, a schedule.

    Each stream's last process depends on its first, and on the first of the stream before it.
    """
    tables: Tables = {
        "streams": [stream(f"s{n}") for n in range(streams)],
        "groups": [group(f"s{n}_g{g}", f"s{n}", g) for n in range(streams) for g in (1, 2)],
        "processes": [
            process(f"s{n}_p{p}", f"s{n}_g{1 + p // 2}", p % 2, source_file=f"f{n}")
            for n in range(streams)
            for p in range(4)
        ],
        "dependencies": [dependency(f"s{n}_p3", f"s{n}_p0") for n in range(streams)],
        "source_files": [source_file(f"f{n}") for n in range(streams)],
        "schedules": [schedule(f"s{n}") for n in range(streams)],
    }
    tables["dependencies"] += [dependency(f"s{n}_p3", f"s{n - 1}_p0") for n in range(1, streams)]
    return tables
