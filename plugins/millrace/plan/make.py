"""Rows and the last good content -> the content of the next snapshot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from millrace.model import ControlRows
from millrace.plan.drafts import Drafts, Entry, draft_streams
from millrace.plan.faults import Fault
from millrace.plan.settle import Settled, settle

FORMAT = 1


@dataclass(frozen=True)
class Plan:
    """What is built from the rows, and what is not, with reasons."""

    control_version: str
    content: Mapping[str, Any]
    """`{"format": 1, "streams": {name: entry}, "refused": {name: [fault]}}`."""
    faults: Mapping[str, tuple[Fault, ...]]
    """By stream name: kept at the last good version, or refused where there is none."""
    unplaced: tuple[Fault, ...] = ()
    """Faults of rows that belong to no stream."""
    notes: tuple[str, ...] = ()
    """What is no fault, yet no DAG."""
    held_back: str | None = None
    """Why nothing at all was taken from the rows."""


def make_plan(rows: ControlRows, previous: Mapping[str, Any] | None) -> Plan:
    """Judge the rows, stream by stream, over the last good content. Never raises.

    The same rows and content give the same bytes and so the same control version.
    """
    before: Mapping[str, Entry] = (previous or {}).get("streams", {})
    if previous is not None and (reason := _held_back(rows, before)):
        return Plan(version_of(previous), previous, {}, held_back=reason)
    drafts = draft_streams(rows, before)
    settled = settle(drafts, rows, before)
    content = _content(settled)
    return Plan(
        version_of(content),
        content,
        {name: _sorted(faults) for name, faults in sorted(settled.faults.items())},
        _sorted(drafts.unplaced),
        _notes(drafts),
    )


def version_of(content: Mapping[str, Any]) -> str:
    """The control version: 16 hex digits of the SHA-256 of the canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _held_back(rows: ControlRows, before: Mapping[str, Entry]) -> str | None:
    core = {
        "stream": rows.streams,
        "process_group": rows.groups,
        "process": rows.processes,
    }
    empty = [f"control.{table}" for table, found in core.items() if not found]
    if not empty or not before or rows.latest_version == EMPTY.control_version:
        return None
    return (
        f"{' and '.join(empty)} read empty while {len(before)} streams are known: taken for a "
        "mistake, and nothing is deleted. If it is meant, run `millrace check --accept-empty`."
    )


def _content(settled: Settled) -> dict[str, Any]:
    told = {name: [asdict(f) for f in _sorted(found)] for name, found in settled.faults.items()}
    entries = settled.entries()
    return {
        "format": FORMAT,
        "streams": {
            name: {**entries[name], "faults": told.get(name, [])} for name in sorted(entries)
        },
        "refused": {name: told[name] for name in sorted(told) if name not in entries},
    }


def _sorted(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(set(faults)))


def _notes(drafts: Drafts) -> tuple[str, ...]:
    return tuple(
        f"stream {name} has no active process, and so no DAG"
        for name, draft in sorted(drafts.items())
        if draft.rows and not draft.processes and not draft.faults
    )


_NOTHING: Mapping[str, Any] = {"format": FORMAT, "streams": {}, "refused": {}}

EMPTY = Plan(version_of(_NOTHING), _NOTHING, {})
"""The plan of empty tables: saved as the newest snapshot, it says that they are meant to be."""
