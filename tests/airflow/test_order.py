"""Order: priorities and gates, dependencies within and across streams, what a failure stops."""

from __future__ import annotations

import pytest

from tests.house import Group, House, today

QUICK = "run.finish(source_rows=1, target_rows=1)"


@pytest.fixture(scope="module")
def quick(house: House) -> str:
    return house.notebook(
        "order/quick.ipynb",
        f"from millrace import open_run\nrun = open_run(run_id)\n{QUICK}",
        'run_id: str = ""',
    )


@pytest.fixture(scope="module")
def bad(house: House) -> str:
    return house.notebook("order/bad.ipynb", "raise ValueError('no such column: price')")


def test_priorities_are_gates_between_groups_and_within_them(house: House, quick: str) -> None:
    house.stream(
        "gated",
        {
            "gated.later": Group({"gated.d": 0}, priority=20),
            "gated.first": Group({"gated.b": 2, "gated.a": 1, "gated.a2": 1}, priority=10),
            "gated.beside": Group({"gated.c": 0}, priority=10),
        },
        notebook=quick,
    )
    assert house.run("gated") == "success"
    span = house.spans(["gated.a", "gated.a2", "gated.b", "gated.c", "gated.d"])
    assert span["gated.b"][0] >= max(span["gated.a"][1], span["gated.a2"][1])
    assert span["gated.d"][0] >= max(span["gated.b"][1], span["gated.c"][1])
    row = house.log("gated.d")[-1]
    assert (row["status"], row["source_rows"], row["target_rows"]) == ("success", 1, 1)


def test_a_shared_dependency_runs_once_under_two_dependents(house: House, quick: str) -> None:
    house.stream("shared", {"shared.g": Group({"shared.base": 0}, priority=9)}, notebook=quick)
    house.stream("sharing", {"sharing.g": Group({"sharing.x": 0, "sharing.y": 0})}, notebook=quick)
    house.depend("sharing.x", "shared.base")
    house.depend("sharing.y", "shared.base")
    house.until(lambda: _needs(house, "sharing.y"), "the dependency is in the DAG")
    assert house.run("sharing") == "success"
    log = house.log("shared.base")
    assert [row["status"] for row in log] == ["success"]
    span = house.spans(["shared.base", "sharing.x", "sharing.y"])
    assert span["shared.base"][1] <= min(span["sharing.x"][0], span["sharing.y"][0])
    # Its own stream joins what the other stream made of the same day.
    assert house.run("shared") == "success"
    assert len(house.log("shared.base")) == 1


def _needs(house: House, process: str) -> bool:
    dag_id = f"process__{process}"
    return house.is_triggerable(dag_id) and "dependencies" in house.task_ids(dag_id)


def test_a_failure_stops_the_levels_after_it(house: House, quick: str, bad: str) -> None:
    house.stream(
        "stopping",
        {
            "stopping.one": Group({"stopping.bad": {"notebook_path": bad}}, priority=1),
            "stopping.two": Group({"stopping.after": 0}, priority=2),
        },
        notebook=quick,
    )
    run_id = house.trigger("stream__stopping")
    assert house.wait("stream__stopping", run_id) == "failed"
    assert house.tasks("stream__stopping", run_id)["stopping.after"]["state"] == "upstream_failed"
    assert house.log("stopping.after") == []
    [row] = house.log("stopping.bad")
    assert row["status"] == "failed"
    assert "ValueError: no such column: price" in row["message"]
    [told] = house.sql(
        "SELECT state, message FROM control.stream_run WHERE stream_name = 'stopping'"
    )
    assert told["state"] == "failed"
    assert "stopping.bad" in told["message"]
    assert "stopping.after" in told["message"]


def test_on_failure_continue_goes_on_and_still_ends_red(house: House, quick: str, bad: str) -> None:
    house.stream(
        "going",
        {
            "going.one": Group(
                {"going.bad": {"notebook_path": bad}}, priority=1, on_failure="continue"
            ),
            "going.two": Group({"going.after": 0}, priority=2),
        },
        notebook=quick,
    )
    assert house.run("going") == "failed"
    assert house.log("going.after")[-1]["status"] == "success"


def test_a_failing_dependency_fails_both_dependents_once(
    house: House, quick: str, bad: str
) -> None:
    house.stream(
        "sour",
        {"sour.g": Group({"sour.base": {"notebook_path": bad}, "sour.x": 0, "sour.y": 0})},
        notebook=quick,
    )
    house.depend("sour.x", "sour.base")
    house.depend("sour.y", "sour.base")
    house.until(lambda: _needs(house, "sour.y"), "the dependency is in the DAG")
    assert house.run("sour") == "failed"
    assert len(house.log("sour.base")) == 1
    runs = house.runs("sour.x", "sour.y")
    for name in ("sour.x", "sour.y"):
        assert runs[name][0]["state"] == "failed"
        assert "sour.base" in runs[name][0]["message"]


def test_an_inactive_dependency_is_skipped(house: House, quick: str, bad: str) -> None:
    house.stream(
        "lenient",
        {"lenient.g": Group({"lenient.x": 0, "lenient.off": {"is_active": False}})},
        notebook=quick,
    )
    house.depend("lenient.x", "lenient.off")
    house.until(lambda: _needs(house, "lenient.x"), "the dependency is in the DAG")
    assert house.run("lenient") == "success"
    assert house.log("lenient.off") == []
    assert not house.is_triggerable("process__lenient.off")


def test_the_data_date_is_the_day_in_the_streams_time_zone(house: House, quick: str) -> None:
    house.stream(
        "far_east", {"far_east.g": Group({"far_east.p": 0})}, notebook=quick,
        time_zone="Pacific/Kiritimati",
    )  # fmt: skip
    assert house.run("far_east") == "success"
    assert house.runs("far_east.p")["far_east.p"][0]["data_date"] == today("Pacific/Kiritimati")


def test_a_pinned_day_is_used_until_a_parameter_says_otherwise(house: House, quick: str) -> None:
    house.stream(
        "pinned", {"pinned.g": Group({"pinned.p": 0})}, notebook=quick,
        is_live=False, data_date="2025-02-28",
    )  # fmt: skip
    assert house.run("pinned") == "success"
    assert house.run("pinned", data_date="2024-02-29") == "success"
    days = [str(row["data_date"]) for row in house.runs("pinned.p")["pinned.p"]]
    assert days == ["2024-02-29", "2025-02-28"]
