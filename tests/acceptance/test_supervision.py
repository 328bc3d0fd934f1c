"""What is killed comes back or is told: parts by the supervisor, tasks by waiters and watchdog."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from millrace.airflow import housekeeping
from millrace.stack import embedded, processes
from millrace.stack.embedded import Standing
from millrace.stack.part import Part
from tests.house import Group, House, house_settings
from tests.killing import part_of, victims

MORTAL = (
    *("postgres", "gateway", "api-server"),
    *("scheduler", "dag-processor", "triggerer"),
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A stack that these tests may kill."""
    settings = house_settings(tmp_path_factory.mktemp("a mortal house"))
    try:
        ready = embedded.up(settings, lab=False)
        yield House(ready, ready.notebooks_dir)
    finally:
        embedded.down(settings)


def _kill(each: Part) -> None:
    record = each.record
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)


def _standings(house: House) -> dict[str, Standing]:
    return {s.name: s for s in embedded.standings(house.settings)}


def _all_run(house: House) -> bool:
    standings = _standings(house)
    return all(standings[name].state == "running" for name in (*MORTAL, "supervisor"))


def test_every_part_that_is_killed_comes_back_and_status_counts_it(house: House) -> None:
    before = {name: part_of(house.settings, name).record for name in MORTAL}
    for name in MORTAL:
        _kill(part_of(house.settings, name))
    house.until(lambda: _all_run(house), "every part runs again", 240)
    standings = _standings(house)
    after = {name: part_of(house.settings, name).record for name in MORTAL}
    assert [name for name in MORTAL if after[name] == before[name]] == []
    restarts = {name: standings[name].restarts for name in MORTAL}
    print(f"killed {len(MORTAL)} parts; restarts {restarts}")
    assert all(count >= 1 for count in restarts.values())
    told = part_of(house.settings, "supervisor").log_path.read_text()
    for name in MORTAL:
        assert f"{name} died" in told
        assert f"{name} was started again" in told
    quick = house.notebook("supervision/quick.ipynb", "print('hello')")
    house.stream("after", {"after.g": Group({"after.p": 0})}, notebook=quick)
    assert house.run("after") == "success"


def test_a_task_killed_without_a_retry_left_is_told_and_nobody_waits_for_it(house: House) -> None:
    slow = house.notebook("supervision/slow.ipynb", "import time\ntime.sleep(600)")
    house.stream("doomed", {"doomed.g": Group({"doomed.p": 0})}, notebook=slow)
    run_id = house.trigger("stream__doomed")
    house.until(lambda: house.log("doomed.p"), "the notebook runs", 90)
    [kernel] = house.until(lambda: victims(house.settings, "kernel"), "its kernel is there")
    task = kernel.parent()
    assert task is not None
    # The kernel goes with it, and nobody is left to write how it ended.
    task.kill()
    assert house.wait("stream__doomed", run_id, 240) == "failed"
    assert victims(house.settings, "kernel") == []
    last = house.log("doomed.p")[-1]
    print(f"killed task: run log {last['status']}: {last['message']}")
    assert last["status"] in ("failed", "crashed")
    assert "Trigger the stream again" in last["message"]
    assert house.runs("doomed.p")["doomed.p"][0]["state"] == "failed"


def _airflow_sql(house: House, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    url = house.settings.airflow_database_url
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


def _notebook_task(house: House, dag_id: str) -> tuple[Any, ...]:
    [row] = _airflow_sql(
        house,
        "SELECT state, last_heartbeat_at IS NULL, start_date = last_heartbeat_at"
        " FROM task_instance WHERE dag_id = %s AND task_id = 'notebook'",
        dag_id,
    )
    return row


def test_tasks_that_airflow_would_leave_for_ever_are_handed_to_its_detector(house: House) -> None:
    """Against Airflow's real tables: never a first heartbeat, never taken from the queue."""
    change = "UPDATE task_instance SET {} WHERE dag_id = %s AND task_id = 'notebook'"
    silent = "state = 'running', last_heartbeat_at = NULL, queued_by_job_id = NULL, start_date = "
    _airflow_sql(house, change.format(f"{silent} now()"), "process__doomed.p")
    housekeeping.revive_detector(house.settings.airflow_database_url)
    assert _notebook_task(house, "process__doomed.p")[:2] == ("running", True), "it may yet beat"
    _airflow_sql(house, change.format(f"{silent} now() - interval '2 minutes'"), "process__after.p")
    housekeeping.revive_detector(house.settings.airflow_database_url)
    assert _notebook_task(house, "process__after.p") == ("running", False, True)
    stuck = (
        "state = 'queued', queued_dttm = now() - interval '4 minutes', queued_by_job_id ="
        " (SELECT max(id) FROM job WHERE job_type = 'SchedulerJob')"
    )
    _airflow_sql(house, change.format(stuck), "process__after.p")
    housekeeping.revive_detector(house.settings.airflow_database_url)
    house.until(lambda: _notebook_task(house, "process__after.p")[0] == "failed", "judged", 60)


def test_housekeeping_runs_every_minute_and_is_green(house: House) -> None:
    def newest() -> list[str]:
        runs = house.airflow.dag_runs("millrace_housekeeping")
        return [r["state"] for r in runs if r["state"] in ("success", "failed")][:2]

    house.until(lambda: newest() == ["success", "success"], "two green runs in a row", 240)


def test_a_killed_supervisor_takes_nothing_with_it_and_up_starts_it(house: House) -> None:
    before = {name: part_of(house.settings, name).record for name in MORTAL}
    supervisor = part_of(house.settings, "supervisor")
    assert supervisor.record is not None
    processes.kill(processes.family(supervisor.record))
    assert _standings(house)["supervisor"].state == "dead"
    embedded.up(house.settings, lab=False)
    assert _standings(house)["supervisor"].state == "running"
    assert {name: part_of(house.settings, name).record for name in MORTAL} == before
