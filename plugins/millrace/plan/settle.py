"""Drafts -> what is built: the new entry of a stream, or its last good one, and why.

Streams meet in three places: a process may live in one stream only, dependencies cross streams,
and a process with a live run stays where it is. Keeping one stream's last good version can
therefore change what another may do; it is decided again until nothing changes. Streams only
ever go from new to kept, so this ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from millrace.model import ControlRows
from millrace.plan import rules
from millrace.plan.circles import find_circle
from millrace.plan.drafts import Drafts, Entry, Row, is_active, label, name_of, owners
from millrace.plan.faults import Fault, judge, shown

Blames = list[tuple[str, Fault]]


@dataclass
class Settled:
    """Which entry of each stream holds."""

    drafts: Drafts
    before: Mapping[str, Entry]
    rows: ControlRows
    faults: dict[str, list[Fault]] = field(default_factory=dict)

    def entries(self) -> dict[str, Entry]:
        """New entries of streams without faults, last good ones of the others."""
        new = {
            name: draft.entry
            for name, draft in self.drafts.items()
            if draft.entry is not None and name not in self.faults
        }
        kept = {name: self.before[name] for name in self.faults if name in self.before}
        return new | kept

    def blame(self, blames: Iterable[tuple[str, Fault]]) -> bool:
        """Note faults; whether a stream that had none has one now."""
        found = list(blames)
        is_news = any(name not in self.faults for name, _ in found)
        for name, fault in found:
            noted = self.faults.setdefault(name, [])
            if fault not in noted:
                noted.append(fault)
        return is_news


def settle(drafts: Drafts, rows: ControlRows, before: Mapping[str, Entry]) -> Settled:
    """Entries with their dependencies, and every stream's faults."""
    settled = Settled(drafts, before, rows)
    settled.faults = {name: list(draft.faults) for name, draft in drafts.items() if draft.faults}
    needs = _dependency_rows(rows)
    targets = _Targets(drafts, rows)
    while True:
        entries = settled.entries()
        homes = owners(entries, "processes", "process_name")
        blames = [*_busy(rows, before, homes), *_clashes(settled, entries)]
        blames += _attach(settled, needs, targets, homes)
        blames += _circles(settled, settled.entries())
        if not settled.blame(blames):
            return settled


def _busy(
    rows: ControlRows, before: Mapping[str, Entry], homes: Mapping[str, str]
) -> Iterator[tuple[str, Fault]]:
    was_in = owners(before, "processes", "process_name")
    for process_name in sorted(rows.busy & was_in.keys()):
        if homes.get(process_name) != was_in[process_name]:
            yield (
                was_in[process_name],
                Fault(
                    f"process {process_name}",
                    "It has a live run and its rows are gone or belong to another stream.",
                    "The change is applied when the run has ended.",
                ),
            )


def _clashes(settled: Settled, entries: Mapping[str, Entry]) -> Iterator[tuple[str, Fault]]:
    holders: dict[str, list[str]] = defaultdict(list)
    for stream_name, entry in entries.items():
        for row in entry["processes"]:
            holders[row["process_name"]].append(stream_name)
    for process_name, streams in holders.items():
        kept = sorted(name for name in streams if name in settled.faults)
        for stream_name in set(streams) - set(kept) if len(streams) > 1 else ():
            yield (
                stream_name,
                Fault(
                    f"process {process_name}",
                    f"It still belongs to the last good version of stream {kept[0]}.",
                    f"Mend the faults of stream {kept[0]}; the move is applied then.",
                ),
            )


def _dependency_rows(rows: ControlRows) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows.dependencies:
        found[name_of(row, "process_name")].append(row)
    return found


class _Targets:
    """Where the processes that others depend on are, by the rows."""

    def __init__(self, drafts: Drafts, rows: ControlRows) -> None:
        self.placed = {
            name_of(row, "process_name"): stream_name
            for stream_name, draft in drafts.items()
            for row in draft.processes
        }
        self.known = {name_of(row, "process_name") for row in rows.processes}


def _attach(
    settled: Settled,
    needs: Mapping[str, list[Row]],
    targets: _Targets,
    homes: Mapping[str, str],
) -> Blames:
    """Write the dependencies into the new entries; what stands in the way."""
    blames: Blames = []
    for stream_name, draft in settled.drafts.items():
        if draft.entry is None or stream_name in settled.faults:
            continue
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for process in draft.entry["processes"]:
            for row in needs.get(process["process_name"], ()):
                values, faults = _dependency(row, targets, homes)
                blames += [(stream_name, fault) for fault in faults]
                if not faults:
                    found[values["process_name"], values["depends_on"]] = values
        draft.entry = {**draft.entry, "dependencies": [found[key] for key in sorted(found)]}
    return blames


def _dependency(
    row: Row, targets: _Targets, homes: Mapping[str, str]
) -> tuple[dict[str, Any], list[Fault]]:
    where = f"{label('dependency', row, 'process_name')} -> {shown(row.get('depends_on'))}"
    values, faults = judge(where, row, rules.DEPENDENCY, rules.DEFAULTS["process_dependency"])
    if faults or not is_active(row):
        return values | {"stream_name": None}, faults
    wanted = values["depends_on"]
    stream_name = homes.get(wanted) or targets.placed.get(wanted)
    if wanted == values["process_name"]:
        faults.append(Fault(where, "It depends on itself.", "Delete this dependency."))
    elif stream_name is None and wanted not in targets.known:
        cure = "Insert the process, or delete this dependency."
        faults.append(Fault(where, f"There is no process {wanted}.", cure))
    return values | {"is_active": stream_name is not None, "stream_name": stream_name}, faults


def _circles(settled: Settled, entries: Mapping[str, Entry]) -> Iterator[tuple[str, Fault]]:
    """Blame the streams whose new rows close a circle; all in it, where none is new."""
    edges = _edges(entries)
    circle = find_circle(edges)
    if circle is None:
        return
    homes = owners(entries, "processes", "process_name")
    before = _edges(settled.before)
    steps = list(pairwise(circle))
    fresh = {homes[a] for a, b in steps if b not in before.get(a, ())}
    blamed = fresh or {homes[name] for name in circle}
    told = " -> ".join(circle)
    for stream_name in sorted(blamed):
        yield (
            stream_name,
            Fault(
                f"dependency {told}",
                "Dependencies go in a circle.",
                "Delete one of them or set its is_active to false.",
            ),
        )


def _edges(entries: Mapping[str, Entry]) -> dict[str, list[str]]:
    edges: dict[str, list[str]] = defaultdict(list)
    for entry in entries.values():
        for row in entry.get("dependencies", ()):
            if row["is_active"]:
                edges[row["process_name"]].append(row["depends_on"])
    return dict(edges)
