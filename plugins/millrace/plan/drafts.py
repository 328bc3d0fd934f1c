"""Rows -> one draft per stream: its entry as the rows have it, and what is wrong with them.

A fault goes to the stream that its row belongs to; where the row itself no longer says so, to
the stream that held it in the last good version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace.model import ControlRows
from millrace.plan import rules
from millrace.plan.faults import Fault, Rule, judge, shown
from millrace.redaction import looks_secret

Row = Mapping[str, Any]
Entry = Mapping[str, Any]


@dataclass
class Draft:
    """What the rows say of one stream."""

    rows: list[Row] = field(default_factory=list)
    """Its rows of control.stream: one, or something is wrong."""
    groups: list[Row] = field(default_factory=list)
    processes: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    entry: Entry | None = None
    """Set where there are processes and no faults; dependencies come later."""


class Drafts(defaultdict[str, Draft]):
    """Drafts by stream name, and the rows that belong to no stream."""

    def __init__(self, before: Mapping[str, Entry]) -> None:
        super().__init__(Draft)
        self.unplaced: list[Fault] = []
        self._groups_before = owners(before, "groups", "group_name")
        self._processes_before = owners(before, "processes", "process_name")

    def blame(self, stream_name: str | None, fault: Fault) -> None:
        """Give a fault to a stream, or to none."""
        if stream_name is None:
            self.unplaced.append(fault)
        else:
            self[stream_name].faults.append(fault)

    def home_of_group(self, row: Row) -> str | None:
        """The stream that held the group; else the one it names, known or not."""
        return self._groups_before.get(name_of(row, "group_name")) or (
            name_of(row, "stream_name") or None
        )

    def home_of_process(self, row: Row) -> str | None:
        """The stream that held the process in the last good version."""
        return self._processes_before.get(name_of(row, "process_name"))


def owners(entries: Mapping[str, Entry], part: str, column: str) -> dict[str, str]:
    """Name of each group or process -> the stream it belongs to."""
    return {row[column]: stream for stream, entry in entries.items() for row in entry[part]}


def name_of(row: Row, column: str) -> str:
    """A name as it stands; empty where it is no text."""
    value = row.get(column)
    return value if isinstance(value, str) else ""


def label(table: str, row: Row, column: str) -> str:
    """How a fault names a row."""
    value = row.get(column)
    return f"{table} {value if rules.is_name(value) else shown(value)}"


def is_active(row: Row) -> bool:
    """Inactive rows are no faults: they are left out."""
    return row.get("is_active", True) is not False


def draft_streams(rows: ControlRows, before: Mapping[str, Entry]) -> Drafts:
    """The drafts of all active streams, of vanished ones that rows still name, and unplaced rows."""
    drafts = Drafts(before)
    _place_streams(drafts, rows.streams)
    idle = {name_of(r, "stream_name") for r in rows.streams if not is_active(r)}
    homes = _place_groups(drafts, rows.groups, idle)
    _place_processes(drafts, rows.processes, homes, _idle_groups(rows.groups, idle))
    _refuse_doubles(drafts)
    source_files = {name_of(row, "source_file"): row for row in rows.source_files}
    schedules = {name_of(r, "stream_name"): r for r in rows.schedules if is_active(r)}
    for stream_name, draft in drafts.items():
        _write_entry(draft, source_files, schedules.get(stream_name))
    return drafts


def _place_streams(drafts: Drafts, rows: Sequence[Row]) -> None:
    for row in filter(is_active, rows):
        if stream_name := name_of(row, "stream_name"):
            drafts[stream_name].rows.append(row)
        else:
            drafts.unplaced += judge(label("stream", row, "stream_name"), row, rules.STREAM, {})[1]


def _idle_groups(rows: Sequence[Row], idle_streams: set[str]) -> set[str]:
    return {
        name_of(row, "group_name")
        for row in rows
        if not is_active(row) or name_of(row, "stream_name") in idle_streams
    }


def _place_groups(drafts: Drafts, rows: Sequence[Row], idle_streams: set[str]) -> dict[str, str]:
    homes: dict[str, str] = {}
    for row in filter(is_active, rows):
        stream_name = name_of(row, "stream_name")
        if stream_name in drafts and drafts[stream_name].rows:
            drafts[stream_name].groups.append(row)
            homes[name_of(row, "group_name")] = stream_name
        elif stream_name not in idle_streams:
            home = drafts.home_of_group(row)
            homes[name_of(row, "group_name")] = home or ""
            drafts.blame(home, _missing("group", row, "group_name", "stream_name", "stream"))
    return homes


def _place_processes(
    drafts: Drafts, rows: Sequence[Row], homes: Mapping[str, str], idle_groups: set[str]
) -> None:
    for row in filter(is_active, rows):
        group_name = name_of(row, "group_name")
        if group_name in homes:
            if homes[group_name]:
                drafts[homes[group_name]].processes.append(row)
        elif group_name not in idle_groups:
            fault = _missing("process", row, "process_name", "group_name", "group")
            drafts.blame(drafts.home_of_process(row), fault)


def _missing(table: str, row: Row, key: str, column: str, wanted: str) -> Fault:
    return Fault(
        label(table, row, key),
        f"{column} is {shown(row.get(column))}, and there is no such {wanted}.",
        f"Insert the {wanted}, or name one that is there.",
    )


def _refuse_doubles(drafts: Drafts) -> None:
    for part, column, home_of in (
        ("groups", "group_name", drafts.home_of_group),
        ("processes", "process_name", drafts.home_of_process),
    ):
        holders: dict[str, list[tuple[str, Row]]] = defaultdict(list)
        for stream_name, draft in drafts.items():
            for row in getattr(draft, part):
                holders[name_of(row, column)].append((stream_name, row))
        for found in holders.values():
            streams = [stream_name for stream_name, _ in found]
            for stream_name, row in found if len(found) > 1 else ():
                # The stream that had the name goes on with it; whoever else uses it is at fault.
                if streams.count(stream_name) > 1 or home_of(row) != stream_name:
                    fault = _double(label(column.removesuffix("_name"), row, column), len(found))
                    drafts[stream_name].faults.append(fault)
    for stream_name, draft in drafts.items():
        if len(draft.rows) > 1:
            draft.faults.append(_double(f"stream {stream_name}", len(draft.rows)))


def _double(where: str, times: int) -> Fault:
    return Fault(where, f"There are {times} rows of this name.", "Rename or delete all but one.")


def _write_entry(draft: Draft, source_files: Mapping[str, Row], schedule: Row | None) -> None:
    draft.faults += _unruly(draft)
    used = {name_of(row, "source_file"): row for row in draft.processes if row.get("source_file")}
    files = [source_files[name] for name in sorted(used) if name in source_files]
    draft.faults += [
        _missing("process", row, "process_name", "source_file", "source file")
        for name, row in used.items()
        if name not in source_files
    ]
    file_rows = _judged(draft, "source_file", files, rules.SOURCE_FILE, "source_file")
    draft.faults += _overlaps(file_rows)
    schedule_rows = _judged(
        draft, "schedule", [schedule] if schedule else [], rules.SCHEDULE, "stream_name"
    )
    draft.faults += _never_due(schedule_rows)
    stream_rows = _judged(draft, "stream", draft.rows, rules.STREAM, "stream_name")
    draft.faults += _undated(stream_rows)
    groups = _judged(draft, "process_group", draft.groups, rules.GROUP, "group_name")
    processes = _judged(draft, "process", draft.processes, rules.PROCESS, "process_name")
    draft.faults += _secrets("stream", "stream_name", stream_rows)
    draft.faults += _secrets("process", "process_name", processes)
    if draft.faults or not processes or not stream_rows:
        return
    busy_groups = {row["group_name"] for row in processes}
    draft.entry = {
        "stream": stream_rows[0],
        "groups": [row for row in groups if row["group_name"] in busy_groups],
        "processes": [
            {**row, "notebook_path": rules.normal_path(row["notebook_path"])} for row in processes
        ],
        "source_files": file_rows,
        "schedule": schedule_rows[0] if schedule_rows else None,
    }


def _judged(
    draft: Draft, table: str, given: Sequence[Row], wanted: Mapping[str, Rule], key: str
) -> list[dict[str, Any]]:
    judged = []
    for row in sorted(given, key=lambda row: name_of(row, key)):
        where = label(table.removeprefix("process_"), row, key)
        values, faults = judge(where, row, wanted, rules.DEFAULTS[table])
        draft.faults += faults
        judged.append(values)
    return judged


def _unruly(draft: Draft) -> Iterator[Fault]:
    for table, key, given in (
        ("stream", "stream_name", draft.rows),
        ("group", "group_name", draft.groups),
        ("process", "process_name", draft.processes),
    ):
        for row in given:
            if not isinstance(row.get("is_active", True), bool):
                yield Fault(
                    label(table, row, key),
                    f"is_active is {shown(row['is_active'])}.",
                    "It must be true or false.",
                )


def _overlaps(rows: Sequence[Row]) -> Iterator[Fault]:
    for row in rows:
        size, overlap = row["chunk_size"], row["chunk_overlap"]
        if rules.is_number(size, 1) and rules.is_number(overlap, 0) and overlap >= size:
            yield Fault(
                label("source_file", row, "source_file"),
                f"chunk_overlap is {overlap}, and chunk_size {size}.",
                "The overlap must be smaller than the chunk.",
            )


def _never_due(rows: Sequence[Row]) -> Iterator[Fault]:
    columns = ("minute", "hour", "day_of_month", "month", "day_of_week")
    for row in rows:
        expression = " ".join(str(row[column]) for column in columns)
        if complaint := rules.cron_complaint(expression):
            yield Fault(
                label("schedule", row, "stream_name"),
                f"{shown(expression)} {complaint}.",
                "Use numbers, names, *, ranges, steps and lists, for a day that exists.",
            )


def _undated(rows: Sequence[Row]) -> Iterator[Fault]:
    for row in rows:
        if row["is_live"] is False and row["data_date"] is None:
            yield Fault(
                label("stream", row, "stream_name"),
                "is_live is false and data_date is empty.",
                "Set data_date, or set is_live to true.",
            )


def _secrets(table: str, key: str, rows: Sequence[Row]) -> Iterator[Fault]:
    """Refused here, before they reach a snapshot, a DAG's page or Airflow's database."""
    for row in rows:
        given = row["parameters"] if rules.is_parameters(row["parameters"]) else {}
        for name in (name for name, value in given.items() if looks_secret(name, value)):
            yield Fault(
                label(table, row, key),
                f"parameter {name} holds a secret; secrets are never parameters.",
                "Remove it from the row, and change the secret: the change log keeps rows.",
            )
