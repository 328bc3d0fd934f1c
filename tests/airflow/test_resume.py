"""Once and again: resuming, reruns, and what Clear and Mark mean."""

from __future__ import annotations

from typing import Any

import pytest

from tests.house import Group, House


@pytest.fixture(scope="module")
def quick(house: House) -> str:
    return house.notebook("resume/quick.ipynb", "print('hello')")


@pytest.fixture(scope="module")
def slow(house: House) -> str:
    return house.notebook("resume/slow.ipynb", "import time\ntime.sleep(600)")


def states(house: House, process: str) -> list[tuple[int, str]]:
    return [(r["generation"], r["state"]) for r in house.runs(process)[process]]


def test_a_second_trigger_resumes_what_has_not_succeeded(house: House, quick: str) -> None:
    broken = house.notebook("resume/mendable.ipynb", "raise RuntimeError('not yet')")
    house.stream(
        "mending",
        {
            "mending.one": Group({"mending.good": 0}, priority=1),
            "mending.two": Group({"mending.bad": {"notebook_path": broken}}, priority=2),
        },
        notebook=quick,
    )
    assert house.run("mending") == "failed"
    house.notebook("resume/mendable.ipynb", "print('mended')")
    assert house.run("mending") == "success"
    assert [row["status"] for row in house.log("mending.good")] == ["success"]
    assert [row["status"] for row in house.log("mending.bad")] == ["failed", "success"]
    assert states(house, "mending.bad") == [(1, "success")]


def test_resuming_uses_the_row_as_it_is_now(house: House, quick: str) -> None:
    bad = house.notebook("resume/always_bad.ipynb", "raise RuntimeError('no')")
    house.stream("moved", {"moved.g": Group({"moved.p": 0})}, notebook=bad)
    assert house.run("moved") == "failed"
    before = house.log("moved.p")[0]["control_version"]
    house.sql("UPDATE control.process SET notebook_path = %s WHERE process_name = 'moved.p'", quick)
    house.until(
        lambda: house.sql("SELECT count(*) > 0 AS there FROM control.snapshot WHERE control_version <> %s AND taken_at > (SELECT taken_at FROM control.snapshot WHERE control_version = %s)", before, before)[0]["there"],
        "a snapshot of the mended row",
    )  # fmt: skip
    assert house.run("moved") == "success"
    assert house.log("moved.p")[-1]["control_version"] != before


def test_rerun_opens_generation_two_and_a_plain_trigger_joins_it(house: House, quick: str) -> None:
    house.stream("again", {"again.g": Group({"again.p": 0})}, notebook=quick)
    assert house.run("again") == "success"
    assert house.run("again", rerun=True) == "success"
    assert house.run("again") == "success"
    assert states(house, "again.p") == [(1, "success"), (2, "success")]
    assert len(house.log("again.p")) == 2


def test_retries_come_from_the_row(house: House, quick: str) -> None:
    bad = house.notebook("resume/never.ipynb", "raise RuntimeError('never')")
    house.stream(
        "retried",
        {"retried.g": Group({"retried.p": {"retries": 1, "retry_delay_s": 1}})},
        notebook=bad,
    )
    assert house.run("retried") == "failed"
    assert [row["status"] for row in house.log("retried.p")] == ["failed", "failed"]


def clear(house: House, dag_id: str, run_id: str, *tasks: str) -> None:
    body: dict[str, Any] = {"dry_run": False, "dag_run_id": run_id, "only_failed": False}
    house.airflow.post(f"/dags/{dag_id}/clearTaskInstances", body | {"task_ids": list(tasks)})


def test_clearing_a_task_of_the_stream_runs_its_process_again(house: House, quick: str) -> None:
    house.stream("cleared", {"cleared.g": Group({"cleared.p": 0, "cleared.q": 0})}, notebook=quick)
    run_id = house.trigger("stream__cleared")
    assert house.wait("stream__cleared", run_id) == "success"
    clear(house, "stream__cleared", run_id, "cleared.p", "result")
    house.until(lambda: len(house.log("cleared.p")) == 2, "the process ran again")
    assert house.wait("stream__cleared", run_id) == "success"
    assert states(house, "cleared.p") == [(1, "success")]
    assert len(house.log("cleared.q")) == 1


def test_clearing_the_notebook_task_runs_it_again(house: House, quick: str) -> None:
    house.stream("cleared2", {"cleared2.g": Group({"cleared2.p": 0})}, notebook=quick)
    assert house.run("cleared2") == "success"
    child = house.runs("cleared2.p")["cleared2.p"][0]["dag_run_id"]
    clear(house, "process__cleared2.p", child, "notebook")
    house.until(lambda: len(house.log("cleared2.p")) == 2, "the notebook ran again")
    assert house.wait("process__cleared2.p", child) == "success"
    assert states(house, "cleared2.p") == [(1, "success")]


def mark(house: House, dag_id: str, run_id: str, task: str, state: str) -> None:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}"
    house.airflow.patch(path, {"new_state": state})


def test_a_process_marked_success_is_not_run_again(house: House, quick: str) -> None:
    bad = house.notebook("resume/bad.ipynb", "raise RuntimeError('no')")
    house.stream(
        "forgiven",
        {
            "forgiven.one": Group({"forgiven.bad": {"notebook_path": bad}}, priority=1),
            "forgiven.two": Group({"forgiven.after": 0}, priority=2),
        },
        notebook=quick,
    )
    run_id = house.trigger("stream__forgiven")
    assert house.wait("stream__forgiven", run_id) == "failed"
    mark(house, "stream__forgiven", run_id, "forgiven.bad", "success")
    assert states(house, "forgiven.bad") == [(1, "success")]
    assert house.run("forgiven") == "success"
    assert [row["status"] for row in house.log("forgiven.bad")] == ["failed", "success"]
    assert "by a person" in house.log("forgiven.bad")[-1]["message"]
    assert house.log("forgiven.after")[-1]["status"] == "success"


def test_a_running_notebook_marked_failed_stops_and_fails_its_stream(
    house: House, slow: str
) -> None:
    house.stream("stopped", {"stopped.g": Group({"stopped.p": 0})}, notebook=slow)
    run_id = house.trigger("stream__stopped")
    house.until(
        lambda: states(house, "stopped.p") == [(1, "running")], "the notebook runs", timeout_s=90
    )
    child = house.runs("stopped.p")["stopped.p"][0]["dag_run_id"]
    mark(house, "process__stopped.p", child, "notebook", "failed")
    assert house.wait("stream__stopped", run_id) == "failed"
    assert states(house, "stopped.p") == [(1, "failed")]
    assert [row["status"] for row in house.log("stopped.p")] == ["failed"]


def test_a_process_dag_triggered_by_hand_joins_the_days_run(house: House, quick: str) -> None:
    house.stream("handy", {"handy.g": Group({"handy.p": 0})}, notebook=quick)
    run_id = house.trigger("process__handy.p")
    assert house.wait("process__handy.p", run_id) == "success"
    assert house.run("handy") == "success"
    assert len(house.log("handy.p")) == 1
    run_id = house.trigger("process__handy.p", rerun=True)
    assert house.wait("process__handy.p", run_id) == "success"
    assert states(house, "handy.p") == [(1, "success"), (2, "success")]
