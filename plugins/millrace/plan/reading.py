"""Reads a snapshot's content back as entities: a stream's levels, a process's specification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from millrace.errors import UnknownName
from millrace.model import (
    Dependency,
    Process,
    ProcessGroup,
    ProcessSpec,
    Schedule,
    SourceFile,
    Stream,
)


@dataclass(frozen=True)
class ProcessLevel:
    """Processes of a group that may run side by side."""

    priority: int
    processes: tuple[Process, ...]


@dataclass(frozen=True)
class GroupLayout:
    """A group and its processes, level after level."""

    group: ProcessGroup
    levels: tuple[ProcessLevel, ...]


@dataclass(frozen=True)
class GroupLevel:
    """Groups of a stream that may run side by side."""

    priority: int
    groups: tuple[GroupLayout, ...]


@dataclass(frozen=True)
class StreamLayout:
    """A stream as its DAGs are built: groups level after level, lowest priority number first."""

    stream: Stream
    schedule: Schedule | None
    levels: tuple[GroupLevel, ...]
    processes: tuple[Process, ...]
    """All of them, by name."""


def layout(entry: Mapping[str, Any]) -> StreamLayout:
    """The levels of one stream, from its entry in a snapshot's content."""
    groups = [_group_layout(ProcessGroup(**row), entry) for row in entry["groups"]]
    groups.sort(key=lambda g: (g.group.priority, g.group.group_name))
    return StreamLayout(
        stream=_stream(entry),
        schedule=_schedule(entry),
        levels=tuple(
            GroupLevel(priority, tuple(level))
            for priority, level in groupby(groups, key=lambda g: g.group.priority)
        ),
        processes=tuple(sorted(_processes(entry), key=lambda p: p.process_name)),
    )


def spec(content: Mapping[str, Any], process_name: str) -> ProcessSpec:
    """All that a run of the process needs, from a snapshot's content.

    Raises UnknownName where the snapshot has no such process.
    """
    for entry in content["streams"].values():
        for row in entry["processes"]:
            if row["process_name"] == process_name:
                return _spec(entry, Process(**row))
    raise UnknownName(
        f"No process {process_name} in this control version.",
        cure="`millrace check` says which rows are left out, and why.",
    )


def _spec(entry: Mapping[str, Any], process: Process) -> ProcessSpec:
    rows = [row for row in entry["dependencies"] if row["process_name"] == process.process_name]
    return ProcessSpec(
        process=process,
        group=next(
            ProcessGroup(**row)
            for row in entry["groups"]
            if row["group_name"] == process.group_name
        ),
        stream=_stream(entry),
        source_file=next(
            (
                SourceFile(**row)
                for row in entry["source_files"]
                if row["source_file"] == process.source_file
            ),
            None,
        ),
        dependencies=tuple(
            Dependency(row["process_name"], row["depends_on"], row["is_active"]) for row in rows
        ),
        dependency_streams={
            row["depends_on"]: row["stream_name"] for row in rows if row["is_active"]
        },
    )


def _group_layout(group: ProcessGroup, entry: Mapping[str, Any]) -> GroupLayout:
    own = [p for p in _processes(entry) if p.group_name == group.group_name]
    own.sort(key=lambda p: (p.priority, p.process_name))
    levels = (
        ProcessLevel(priority, tuple(level))
        for priority, level in groupby(own, key=lambda p: p.priority)
    )
    return GroupLayout(group, tuple(levels))


def _processes(entry: Mapping[str, Any]) -> Iterable[Process]:
    return (Process(**row) for row in entry["processes"])


def _stream(entry: Mapping[str, Any]) -> Stream:
    row = entry["stream"]
    day = row["data_date"]
    return Stream(**{**row, "data_date": date.fromisoformat(day) if day else None})


def _schedule(entry: Mapping[str, Any]) -> Schedule | None:
    row = entry["schedule"]
    if row is None:
        return None
    return Schedule(**{**row, "created_at": datetime.fromisoformat(row["created_at"])})
