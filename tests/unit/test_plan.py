"""Rows -> Plan, decision by decision."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from millrace.model import ControlRows
from millrace.plan import EMPTY, Plan, make_plan
from millrace.plan.make import version_of
from tests.control_rows import (
    Row,
    Tables,
    control_rows,
    dependency,
    group,
    house,
    process,
    schedule,
    source_file,
    stream,
)
from tests.planted import SECRETS, TELLING

SMALL: Tables = {
    "streams": [stream("s")],
    "groups": [group("g", "s")],
    "processes": [process("p", "g")],
}


def planned(previous: Plan | None = None, **tables: list[Row]) -> Plan:
    return make_plan(control_rows(SMALL | tables), previous.content if previous else None)


def only_fault(plan: Plan, stream_name: str = "s") -> tuple[str, str, str]:
    assert list(plan.faults) == [stream_name]
    [fault] = plan.faults[stream_name]
    return fault.where, fault.message, fault.cure


def test_the_content_is_what_the_rows_say() -> None:
    plan = planned(
        processes=[process("p", "g", source_file="f", notebook_path="notebooks/./a/b")],
        source_files=[source_file("f"), source_file("unused")],
        schedules=[schedule("s")],
    )
    entry = plan.content["streams"]["s"]
    assert sorted(entry) == [
        "dependencies",
        "faults",
        "groups",
        "processes",
        "schedule",
        "source_files",
        "stream",
    ]
    assert entry["stream"] == {k: v for k, v in stream("s").items() if k != "is_active"}
    assert entry["processes"][0]["notebook_path"] == "a/b.ipynb"
    assert [f["source_file"] for f in entry["source_files"]] == ["f"]
    assert entry["schedule"]["day_of_week"] == "mon-fri"
    assert (entry["faults"], plan.content["refused"], plan.content["format"]) == ([], {}, 1)


def test_the_same_rows_give_the_same_bytes_in_any_order() -> None:
    tables = house()
    plan = make_plan(control_rows(tables), None)
    turned = make_plan(control_rows({k: v[::-1] for k, v in tables.items()}), plan.content)
    assert turned.control_version == plan.control_version == version_of(plan.content)
    assert json.dumps(turned.content) == json.dumps(plan.content)
    assert len(plan.control_version) == 16


def test_rows_that_leave_columns_out_get_the_defaults() -> None:
    plan = planned(
        streams=[{"stream_name": "s"}],
        groups=[{"group_name": "g", "stream_name": "s"}],
        processes=[{"process_name": "p", "group_name": "g", "notebook_path": "x"}],
    )
    assert plan.faults == {}
    assert plan.content["streams"]["s"]["processes"][0]["timeout_s"] == 3600


BAD_CELLS: list[tuple[str, str, Any]] = [
    ("streams", "stream_name", "two words"),
    ("streams", "time_zone", "Mars/Olympus"),
    ("streams", "time_zone", ["UTC"]),
    ("streams", "parameters", {"not an identifier": 1}),
    ("streams", "parameters", {"class": 1}),
    ("streams", "parameters", [1]),
    ("streams", "data_date", "tomorrow"),
    ("streams", "max_active_runs", 0),
    ("streams", "catchup", "yes"),
    ("streams", "owner", ""),
    ("streams", "notify", ""),
    ("streams", "is_active", "maybe"),
    ("groups", "group_name", ".."),
    ("groups", "priority", -1),
    ("groups", "priority", True),
    ("groups", "on_failure", "panic"),
    ("processes", "process_name", "x" * 201),
    ("processes", "priority", "1"),
    ("processes", "parameters", {"x": float("nan")}),
    ("processes", "parameters", {"x": b"bytes"}),
    ("processes", "parameters", {"\uff58": 1}),
    ("processes", "retries", -1),
    ("processes", "timeout_s", 0),
    ("processes", "timeout_s", 10**12),
    ("processes", "memory_limit_mb", 0),
    ("processes", "pool", ""),
    ("processes", "llm_priority", "now"),
    ("processes", "source_file", "missing"),
    ("processes", "gen_model", 7),
]


@pytest.mark.parametrize(("table", "column", "value"), BAD_CELLS)
def test_a_bad_cell_is_a_fault_of_its_stream(table: str, column: str, value: Any) -> None:
    rows = [{**SMALL[table][0], column: value}]
    before = planned()
    plan = planned(before, **{table: rows})
    faults = [fault for found in plan.faults.values() for fault in found]
    assert any(column in fault.message and fault.cure for fault in faults)
    assert plan.faults["s"]
    kept = plan.content["streams"]["s"]
    assert kept["processes"] == before.content["streams"]["s"]["processes"]
    assert kept["faults"][0]["cure"]


BAD_PATHS = ["", " ", "/etc/x.ipynb", "../x", "a/../../x", "s3://b/x", "http:x", "C:x", "a\\b"]
BAD_PATHS += ["{x.__class__}", "a\0b", "a\nb", ".ipynb", "notebooks", "."]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_out_of_the_notebooks_folder_is_a_fault(path: str) -> None:
    where, message, _ = only_fault(planned(processes=[process("p", "g", notebook_path=path)]))
    assert where == "process p"
    assert "notebook_path" in message


@pytest.mark.parametrize(
    "cron",
    [
        {"minute": "61"},
        {"hour": "@daily"},
        {"month": "L"},
        {"day_of_week": "R"},
        {"minute": "* *"},
        {"day_of_month": "31", "month": "feb", "day_of_week": "*"},
        {"created_at": "yesterday"},
        {"hour": None},
    ],
)
def test_a_schedule_that_cannot_be_read_or_is_never_due_is_a_fault(cron: Row) -> None:
    faults = planned(schedules=[schedule("s", **cron)]).faults["s"]
    assert {fault.where for fault in faults} == {"schedule s"}


def test_a_pinned_stream_needs_its_date() -> None:
    _, message, cure = only_fault(planned(streams=[stream("s", is_live=False)]))
    assert ("data_date is empty" in message, "data_date" in cure) == (True, True)


def test_an_overlap_as_long_as_the_chunk_is_a_fault() -> None:
    plan = planned(
        processes=[process("p", "g", source_file="f")],
        source_files=[source_file("f", chunk_size=32)],
    )
    assert only_fault(plan)[0] == "source_file f"


def test_a_faulty_stream_without_a_last_good_version_is_refused_with_its_reason() -> None:
    plan = planned(processes=[process("p", "g", priority=-1)])
    assert plan.content["streams"] == {}
    assert plan.content["refused"]["s"][0]["where"] == "process p"


def test_a_mended_stream_is_taken_up_again() -> None:
    good = planned()
    bad = planned(good, processes=[process("p", "g", priority=-1)])
    assert bad.control_version != good.control_version
    assert planned(bad).control_version == good.control_version


@pytest.mark.parametrize("table", ["streams", "groups", "processes"])
def test_inactive_rows_are_left_out_and_no_fault(table: str) -> None:
    plan = planned(planned(), **{table: [{**SMALL[table][0], "is_active": False}]})
    assert (plan.content["streams"], plan.faults, plan.held_back) == ({}, {}, None)


def test_inactive_groups_and_schedules_leave_the_rest() -> None:
    plan = planned(
        groups=[group("g", "s"), group("off", "s", is_active=False)],
        processes=[process("p", "g"), process("q", "off")],
        schedules=[schedule("s", is_active=False)],
    )
    entry = plan.content["streams"]["s"]
    assert ([p["process_name"] for p in entry["processes"]], entry["schedule"]) == (["p"], None)


def test_a_stream_without_processes_is_noted_and_no_fault() -> None:
    plan = planned(streams=[stream("s"), stream("bare")])
    assert plan.faults == {}
    assert plan.notes == ("stream bare has no active process, and so no DAG",)


def test_rows_that_point_nowhere_are_faults_of_the_stream_that_held_them() -> None:
    lost_group = planned(planned(), groups=[group("g", "nowhere")])
    assert "no such stream" in only_fault(lost_group)[1]
    lost_process = planned(planned(), processes=[process("p", "nowhere")])
    assert "no such group" in only_fault(lost_process)[1]
    unheld = planned(processes=[process("p", "g"), process("q", "nowhere")])
    assert (unheld.faults, len(unheld.unplaced)) == ({}, 1)


def test_a_deleted_stream_is_gone_while_others_remain() -> None:
    tables = house(2)
    both = make_plan(control_rows(tables), None)
    left: Tables = {
        "streams": tables["streams"][1:],
        "groups": tables["groups"][2:],
        "processes": tables["processes"][4:],
        "dependencies": [dependency("s1_p3", "s1_p0")],
        "source_files": tables["source_files"][1:],
        "schedules": tables["schedules"][1:],
    }
    plan = make_plan(control_rows(left), both.content)
    assert (list(plan.content["streams"]), plan.faults) == (["s1"], {})


@pytest.mark.parametrize("table", ["streams", "groups", "processes"])
def test_an_empty_core_table_is_held_back(table: str) -> None:
    before = planned()
    plan = planned(before, **{table: []})
    assert plan.content == before.content
    assert plan.control_version == before.control_version
    assert plan.held_back is not None
    assert "--accept-empty" in plan.held_back


def test_an_accepted_emptiness_goes_through() -> None:
    rows = control_rows({}, latest_version=EMPTY.control_version)
    plan = make_plan(rows, planned().content)
    assert (plan.held_back, plan.content["streams"]) == (None, {})
    assert plan.control_version == EMPTY.control_version


def test_nothing_was_there_and_nothing_is_there() -> None:
    assert make_plan(control_rows({}), None).control_version == EMPTY.control_version


def dependencies_of(plan: Plan) -> dict[str, tuple[bool, str | None]]:
    return {
        row["depends_on"]: (row["is_active"], row["stream_name"])
        for entry in plan.content["streams"].values()
        for row in entry["dependencies"]
    }


def test_dependencies_know_their_streams_and_inactive_ones_are_flagged() -> None:
    plan = planned(
        streams=[stream("s"), stream("t"), stream("off", is_active=False)],
        groups=[group("g", "s"), group("h", "t"), group("i", "off")],
        processes=[
            *(process(name, "g") for name in ("p", "own")),
            *(process(name, "h") for name in ("other", "unwanted")),
            process("idle", "h", is_active=False),
            process("away", "i"),
        ],
        dependencies=[
            *(dependency("p", name) for name in ("own", "other", "idle", "away")),
            dependency("p", "unwanted", is_active=False),
        ],
    )
    assert plan.faults == {}
    assert dependencies_of(plan) == {
        "own": (True, "s"),
        "other": (True, "t"),
        "idle": (False, None),
        "away": (False, None),
        "unwanted": (False, None),
    }


def test_a_dependency_on_nothing_or_itself_is_a_fault() -> None:
    _, message, cure = only_fault(planned(dependencies=[dependency("p", "ghost")]))
    assert ("ghost" in message, "delete" in cure) == (True, True)
    assert "itself" in only_fault(planned(dependencies=[dependency("p", "p")]))[1]


def test_a_dependency_on_a_faulty_streams_process_stays() -> None:
    plan = planned(
        streams=[stream("s"), stream("bad", owner="")],
        groups=[group("g", "s"), group("h", "bad")],
        processes=[process("p", "g"), process("q", "h")],
        dependencies=[dependency("p", "q")],
    )
    assert list(plan.faults) == ["bad"]
    assert dependencies_of(plan) == {"q": (True, "bad")}


def two_streams(*, busy: Sequence[str] = (), **tables: list[Row]) -> ControlRows:
    given: Tables = {
        "streams": [stream("s"), stream("t")],
        "groups": [group("g", "s"), group("h", "t")],
        "processes": [process("p", "g"), process("p2", "g"), process("q", "h")],
    }
    return control_rows(given | tables, busy=busy)


def test_a_circle_is_a_fault_of_the_stream_that_closed_it() -> None:
    before = make_plan(two_streams(dependencies=[dependency("p", "q")]), None)
    closed = two_streams(dependencies=[dependency("p", "q"), dependency("q", "p")])
    assert "p -> q -> p" in only_fault(make_plan(closed, before.content), "t")[0]
    assert list(make_plan(closed, None).faults) == ["s", "t"]


def test_an_inactive_dependency_closes_no_circle() -> None:
    rows = two_streams(dependencies=[dependency("p", "q"), dependency("q", "p", is_active=False)])
    assert make_plan(rows, None).faults == {}


def test_a_process_with_a_live_run_is_neither_dropped_nor_moved() -> None:
    before = make_plan(two_streams(), None)
    dropped = two_streams(processes=[process("p2", "g"), process("q", "h")], busy=["p"])
    plan = make_plan(dropped, before.content)
    assert "live run" in only_fault(plan)[1]
    assert len(plan.content["streams"]["s"]["processes"]) == 2
    moved = two_streams(
        processes=[process("p", "h"), process("p2", "g"), process("q", "h")], busy=["p"]
    )
    plan = make_plan(moved, before.content)
    assert list(plan.faults) == ["s", "t"]
    assert plan.content["streams"]["t"]["processes"] == before.content["streams"]["t"]["processes"]
    ended = make_plan(replace(moved, busy=frozenset()), plan.content)
    assert ended.faults == {}
    assert len(ended.content["streams"]["t"]["processes"]) == 2


def test_a_stream_whose_process_runs_is_not_deleted() -> None:
    before = make_plan(two_streams(), None)
    gone = two_streams(
        streams=[stream("s")],
        groups=[group("g", "s")],
        processes=[process("p", "g"), process("p2", "g")],
        busy=["q"],
    )
    plan = make_plan(gone, before.content)
    assert list(plan.content["streams"]) == ["s", "t"]
    assert "live run" in only_fault(plan, "t")[1]


def test_a_changed_row_of_a_running_process_is_applied() -> None:
    before = make_plan(two_streams(), None)
    changed = two_streams(
        processes=[process("p", "g", priority=3), process("p2", "g"), process("q", "h")],
        busy=["p"],
    )
    plan = make_plan(changed, before.content)
    assert plan.faults == {}
    assert plan.content["streams"]["s"]["processes"][0]["priority"] == 3


def test_a_process_cannot_move_while_its_old_stream_is_kept() -> None:
    before = make_plan(two_streams(), None)
    plan = make_plan(
        two_streams(
            streams=[stream("s", owner=""), stream("t")],
            processes=[process("p", "h"), process("p2", "g"), process("q", "h")],
        ),
        before.content,
    )
    assert list(plan.faults) == ["s", "t"]
    assert "last good version of stream s" in plan.faults["t"][0].message


def test_names_that_come_twice_stay_with_who_had_them() -> None:
    before = make_plan(two_streams(), None)
    twice = two_streams(
        processes=[process("p", "g"), process("p2", "g"), process("q", "h"), process("p", "h")]
    )
    assert "2 rows" in only_fault(make_plan(twice, before.content), "t")[1]
    assert list(make_plan(twice, None).faults) == ["s", "t"]


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_a_secret_in_a_parameter_goes_no_further_than_the_row(kind: str) -> None:
    name = "db_password" if kind == "password" else "anything"
    good = planned()
    plan = planned(good, processes=[process("p", "g", parameters={name: SECRETS[kind]})])
    where, message, _ = only_fault(plan)
    assert (where, message) == (
        "process p",
        f"parameter {name} holds a secret; secrets are never parameters.",
    )
    assert TELLING[kind] not in json.dumps(plan.content)
    assert plan.content["streams"]["s"]["processes"] == good.content["streams"]["s"]["processes"]


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_no_fault_quotes_a_secret(kind: str) -> None:
    parameters = {"not a name": 1, "password": SECRETS[kind]}
    plan = planned(streams=[stream("s", parameters=parameters)])
    assert only_fault(plan)[0] == "stream s"
    assert TELLING[kind][:12] not in json.dumps(plan.content)
