"""What an Airflow user expects to work, works: pause, cron, backfill, pools, notifications."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from tests.house import Group, House


@pytest.fixture(scope="module")
def quick(house: House) -> str:
    return house.notebook("habits/quick.ipynb", "print('hello')")


def schedule(house: House, stream: str, minute: str, hour: str = "*", **columns: str) -> None:
    given = {"stream_name": stream, "minute": minute, "hour": hour} | columns
    house.sql(
        f"INSERT INTO control.schedule ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))})",
        *given.values(),
    )


def test_a_pause_survives_an_update_of_the_rows(house: House, quick: str) -> None:
    house.stream("paused", {"paused.g": Group({"paused.p": 0})}, notebook=quick)
    house.until(lambda: house.is_triggerable("stream__paused"), "the stream is a DAG")
    dag = house.airflow.get("/dags/stream__paused")
    assert dag["is_paused"] is False
    house.airflow.patch("/dags/stream__paused", {"is_paused": True})
    house.sql("UPDATE control.stream SET description = 'new' WHERE stream_name = 'paused'")
    house.until(
        lambda: house.airflow.get("/dags/stream__paused")["description"] == "new", "the update"
    )
    assert house.airflow.get("/dags/stream__paused")["is_paused"] is True


def test_a_paused_process_fails_its_stream_by_name(house: House, quick: str) -> None:
    house.stream("waiting", {"waiting.g": Group({"waiting.p": 0})}, notebook=quick)
    house.until(lambda: house.is_triggerable("process__waiting.p"), "the process is a DAG")
    house.airflow.patch("/dags/process__waiting.p", {"is_paused": True})
    assert house.run("waiting") == "failed"
    [run] = house.runs("waiting.p")["waiting.p"]
    assert "process__waiting.p is paused" in run["message"]
    house.airflow.patch("/dags/process__waiting.p", {"is_paused": False})
    assert house.run("waiting") == "success"


def test_every_tick_of_a_schedule_is_a_generation_of_its_day(house: House, quick: str) -> None:
    house.stream("ticking", {"ticking.g": Group({"ticking.p": 0})}, notebook=quick)
    schedule(house, "ticking", "*")
    house.until(lambda: len(house.log("ticking.p")) >= 2, "two ticks have run", timeout_s=200)
    house.sql("DELETE FROM control.schedule WHERE stream_name = 'ticking'")
    generations = sorted(row["generation"] for row in house.log("ticking.p"))
    assert generations[:2] == [1, 2]


def test_all_five_cron_fields_and_the_time_zone_reach_airflow(house: House, quick: str) -> None:
    house.stream(
        "timed", {"timed.g": Group({"timed.p": 0})}, notebook=quick, time_zone="Europe/Vienna"
    )
    schedule(
        house, "timed", "5,35", "6-8", day_of_month="1-7", month="jan,jul", day_of_week="mon-fri"
    )
    house.until(lambda: house.is_triggerable("stream__timed"), "the stream is a DAG")
    dag = house.airflow.get("/dags/stream__timed/details")
    assert dag["timetable_summary"] == "5,35 6-8 1-7 jan,jul mon-fri"
    assert dag["timezone"] == "Europe/Vienna" or "Vienna" in json.dumps(dag)


def test_an_old_schedule_catches_up_when_the_row_says_so(house: House, quick: str) -> None:
    house.stream(
        "behind", {"behind.g": Group({"behind.p": 0})}, notebook=quick, catchup=True,
    )  # fmt: skip
    schedule(house, "behind", "0", "3", created_at="2026-01-01T00:00:00Z")
    house.until(lambda: len(house.runs("behind.p")["behind.p"]) >= 2, "two days", timeout_s=120)
    house.airflow.patch("/dags/stream__behind", {"is_paused": True})
    days = [str(row["data_date"]) for row in house.runs("behind.p")["behind.p"]][:2]
    assert days == ["2026-01-01", "2026-01-02"]
    house.sql("UPDATE control.stream SET is_active = false WHERE stream_name = 'behind'")


def test_a_backfill_works_on_its_logical_dates(house: House, quick: str) -> None:
    house.stream("filled", {"filled.g": Group({"filled.p": 0})}, notebook=quick)
    schedule(house, "filled", "0", "3")
    house.until(lambda: house.is_triggerable("stream__filled"), "the stream is a DAG")
    body = {
        "dag_id": "stream__filled",
        "from_date": "2025-03-01T00:00:00Z",
        "to_date": "2025-03-02T23:00:00Z",
        "max_active_runs": 1,
    }
    house.airflow.post("/backfills", body)
    house.until(
        lambda: [r["state"] for r in house.runs("filled.p")["filled.p"]] == ["success"] * 2,
        "both days are filled",
        timeout_s=120,
    )
    days = [str(row["data_date"]) for row in house.runs("filled.p")["filled.p"]]
    assert days == ["2025-03-01", "2025-03-02"]


def test_two_runs_of_a_stream_wait_for_each_other(house: House) -> None:
    slow = house.notebook("habits/slow.ipynb", "import time\ntime.sleep(3)")
    house.stream("single", {"single.g": Group({"single.p": 0})}, notebook=slow)
    first = house.trigger("stream__single", data_date="2025-01-01")
    second = house.trigger("stream__single", data_date="2025-01-02")
    for run_id in (first, second):
        assert house.wait("stream__single", run_id) == "success"
    a, b = (row for row in house.log("single.p"))
    assert b["started_at"] >= a["ended_at"]


def test_a_pool_limits_its_processes_and_is_made_when_missing(house: House) -> None:
    slow = house.notebook("habits/pooled.ipynb", "import time\ntime.sleep(2)")
    house.stream(
        "pooled",
        {"pooled.g": Group({f"pooled.{n}": {"pool": "one_gpu"} for n in "abc"})},
        notebook=slow,
    )
    house.until(lambda: house.is_triggerable("stream__pooled"), "the stream is a DAG")
    house.until(lambda: "one_gpu" in _pools(house), "the pool is there")
    slots = {"name": "one_gpu", "slots": 1, "include_deferred": False, "description": ""}
    house.airflow.patch("/pools/one_gpu", slots)
    assert house.run("pooled") == "success"
    spans = sorted(house.spans(["pooled.a", "pooled.b", "pooled.c"]).values())
    assert all(later[0] >= earlier[1] for earlier, later in itertools.pairwise(spans))


def _pools(house: House) -> set[str]:
    return {pool["name"] for pool in house.airflow.get("/pools")["pools"]}


def test_failure_and_recovery_reach_the_streams_target(
    house: House, quick: str, inbox: list[dict[str, Any]]
) -> None:
    house.notebook("habits/mendable.ipynb", "x = 1\n# %%\nraise ValueError('out of ink')")
    house.stream(
        "telling", {"telling.g": Group({"telling.p": 0})}, notebook="habits/mendable.ipynb",
        notify="OPS", owner="dora",
    )  # fmt: skip
    assert house.run("telling") == "failed"
    [failure] = [m for m in inbox if m["title"].startswith("telling.p")]
    assert failure["title"] == "telling.p failed"
    for part in ("cell", "ValueError: out of ink", "telling", "dora", "/millrace/runs/telling.p__"):
        assert part in failure["message"]
    house.notebook("habits/mendable.ipynb", "print('mended')")
    assert house.run("telling") == "success"
    assert [m["title"] for m in inbox if m["title"].startswith("telling.p")] == [
        "telling.p failed",
        "telling.p recovered",
    ]
