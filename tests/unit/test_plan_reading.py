"""A snapshot's content read back: levels for the DAG, a specification for a run."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from millrace.errors import UnknownName
from millrace.plan import layout, make_plan, spec
from tests.control_rows import (
    control_rows,
    dependency,
    group,
    process,
    schedule,
    source_file,
    stream,
)

CONTENT = make_plan(
    control_rows(
        {
            "streams": [
                stream("s", is_live=False, data_date="2026-11-20", parameters={"currency": "EUR"})
            ],
            "groups": [
                group("late", "s", 9),
                group("b", "s", 1),
                group("a", "s", 1, on_failure="continue"),
            ],
            "processes": [
                process("last", "late", source_file="f"),
                process("a2", "a", 5),
                process("a1", "a", 5),
                process("a0", "a", 2),
                process("b0", "b", 0),
            ],
            "dependencies": [
                dependency("last", "a0"),
                dependency("last", "b0", is_active=False),
            ],
            "source_files": [source_file("f")],
            "schedules": [schedule("s")],
        }
    ),
    None,
).content


def test_levels_go_from_the_lowest_number_up() -> None:
    found = layout(CONTENT["streams"]["s"])
    assert [
        (
            level.priority,
            [
                (g.group.group_name, [[p.process_name for p in s.processes] for s in g.levels])
                for g in level.groups
            ],
        )
        for level in found.levels
    ] == [(1, [("a", [["a0"], ["a1", "a2"]]), ("b", [["b0"]])]), (9, [("late", [["last"]])])]
    assert [p.process_name for p in found.processes] == ["a0", "a1", "a2", "b0", "last"]
    assert found.levels[0].groups[0].group.on_failure == "continue"


def test_dates_are_dates_again() -> None:
    found = layout(CONTENT["streams"]["s"])
    assert found.stream.data_date == date(2026, 11, 20)
    assert found.schedule is not None
    assert found.schedule.created_at == datetime(2026, 11, 20, 6, tzinfo=UTC)
    assert found.schedule.cron == "0 6 * * mon-fri"


def test_a_specification_has_all_that_hangs_off_a_process() -> None:
    found = spec(CONTENT, "last")
    assert (found.group.group_name, found.stream.parameters) == ("late", {"currency": "EUR"})
    assert found.source_file is not None
    assert [(d.depends_on, d.is_active) for d in found.dependencies] == [
        ("a0", True),
        ("b0", False),
    ]
    assert found.dependency_streams == {"a0": "s"}


def test_a_process_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match="ghost"):
        spec(CONTENT, "ghost")
