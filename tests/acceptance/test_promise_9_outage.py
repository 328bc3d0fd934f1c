"""Promise 9: no DAG disappears, whatever becomes of the control database or of files on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from millrace.stack import airflow, embedded, part, postgres
from tests.house import Group, House
from tests.killing import part_of
from tests.outage import (
    DAGS,
    STREAMS,
    Outage,
    bundle_folder,
    cut_off,
    damage,
    kept,
    my_turn,
    repaired,
    restart,
)
from tests.watching import DagWatch, dag_count

OUTAGE_S = 120
SLOW_S = 20
STALE_S = 70
"""Longer than Airflow takes to hide a DAG that its file no longer yields."""
SPOIL_TABLES = """
DO $$ DECLARE found record; BEGIN
    FOR found IN SELECT conname, conrelid::regclass AS place FROM pg_constraint
        WHERE contype = 'c' AND conrelid <> 0 AND connamespace = 'control'::regnamespace
    LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.place, found.conname);
    END LOOP;
END $$
"""
MUTATIONS: Sequence[tuple[str, str, Any]] = (
    ("process", "priority", -5),
    ("process", "notebook_path", "../../etc/passwd"),
    ("process", "parameters", '["no", "object"]'),
    ("process", "retries", -1),
    ("process_group", "on_failure", "perhaps"),
    ("stream", "time_zone", "Mars/Olympus"),
    ("stream", "max_active_runs", 0),
    ("schedule", "hour", "99"),
)
"""Table, column and a value that the tables would refuse."""

ROWS = {
    "stream": ("stream_name", "calm0"),
    "schedule": ("stream_name", "calm0"),
    "process_group": ("group_name", "calm0.g"),
    "process": ("process_name", "calm0.a"),
}


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    with cut_off(tmp_path_factory.mktemp("a house cut off")) as running:
        yield running


def _count(house: House) -> int:
    return dag_count(house.airflow)


@pytest.mark.timeout(600)
def test_a_blackhole_hides_no_dag_even_with_damaged_files_and_a_restart(outage: Outage) -> None:
    house, proxy = outage.house, outage.proxy
    supervised = embedded.standings(house.settings)
    with DagWatch(house.settings) as watch, repaired(proxy):
        proxy.become("blackhole")
        watch.last(OUTAGE_S / 4)
        damaged = damage(kept(bundle_folder(house) / "current"))
        watch.last(OUTAGE_S / 2)
        restart(outage.through, "dag-processor")
        watch.last(OUTAGE_S)
        proxy.become("slow")
        watch.last(OUTAGE_S + SLOW_S)
    print(
        f"blackholed {OUTAGE_S} s, slow {SLOW_S} s, {proxy.swallowed} packets swallowed, "
        f"{damaged} files damaged, dag-processor restarted: {watch.told}"
    )
    assert proxy.swallowed > 0
    assert damaged > STREAMS
    assert set(watch.counts) == {DAGS}
    assert watch.counts[DAGS] >= OUTAGE_S / 2
    restarts = [s.restarts for s in embedded.standings(house.settings)]
    assert restarts == [s.restarts for s in supervised], "no part died of it"
    house.stream("after", {"after.g": Group({"after.p": 0})}, notebook="outage/quick.ipynb")
    assert house.run("after") == "success"
    _remove(house, "after")
    house.until(lambda: _count(house) == DAGS, "the DAGs are those of before")


def _remove(house: House, stream: str) -> None:
    house.sql(
        f"DELETE FROM control.process WHERE process_name LIKE '{stream}.%%';"
        f"DELETE FROM control.process_group WHERE stream_name = '{stream}';"
        f"DELETE FROM control.stream WHERE stream_name = '{stream}';"
    )


def test_every_file_damaged_and_a_restart_hide_no_dag(outage: Outage) -> None:
    house = outage.house
    files = kept(bundle_folder(house))
    with DagWatch(house.settings) as watch:
        damaged = damage(files)
        restart(outage.through, "dag-processor")
        current = [p for p in files if p.parent.name == "current" and p.suffix == ".json"]
        house.until(lambda: all(map(_is_whole, current)), "the files are mended", 60)
        watch.last(watch.elapsed_s + STALE_S)
    print(f"{damaged} files damaged, dag-processor restarted: {watch.told}")
    assert len(current) == STREAMS
    assert set(watch.counts) == {DAGS}
    assert house.run("calm0") == "success"


def _is_whole(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text())["stream"])
    except (ValueError, KeyError):
        return False


@pytest.mark.timeout(600)
def test_two_minutes_without_postgres_hide_no_dag(outage: Outage) -> None:
    house = outage.house
    server = part_of(house.settings, "postgres")
    with DagWatch(house.settings) as watch:
        with my_turn(house.settings):
            part.stop(server)
        watch.last(OUTAGE_S)
        part.start(server)
        part.wait_healthy(server)
        house.until(lambda: _airflow_runs(house), "Airflow runs again", 240)
        watch.last(watch.elapsed_s + SLOW_S)
    restarts = {s.name: s.restarts for s in embedded.standings(house.settings) if s.restarts}
    print(f"Postgres away for {OUTAGE_S} s: {watch.told}, restarts {restarts}")
    assert set(watch.counts) == {DAGS}
    assert watch.unanswered > 0
    assert house.run("calm1") == "success"


def _airflow_runs(house: House) -> bool:
    states = {s.name: s.state for s in embedded.standings(house.settings)}
    return all(states[p.name] == "running" for p in airflow.parts(house.settings))


@pytest.mark.timeout(600)
def test_bad_rows_touch_their_own_stream_only(outage: Outage) -> None:
    house = outage.house
    others = [f"stream__calm{n}" for n in range(1, STREAMS)]
    before = {dag_id: _page(house, dag_id) for dag_id in others}
    _as_superuser(house, SPOIL_TABLES)
    with DagWatch(house.settings) as watch:
        for table, column, value in MUTATIONS:
            was = _spoil(house, table, column, value)
            house.until(
                lambda: "have faults" in _page(house, "stream__calm0"), f"{table}.{column} is told"
            )
            assert {dag_id: _page(house, dag_id) for dag_id in others} == before
            _spoil(house, table, column, was)
            house.until(
                lambda: "have faults" not in _page(house, "stream__calm0"), "the row is good again"
            )
    print(f"{len(MUTATIONS)} bad rows, {len(others)} other streams untouched: {watch.told}")
    assert set(watch.counts) == {DAGS}
    assert house.run("calm0") == "success"


def _page(house: House, dag_id: str) -> str:
    return str(house.airflow.get(f"/dags/{dag_id}/details")["doc_md"])


def _spoil(house: House, table: str, column: str, value: Any) -> Any:
    """Set one cell of stream calm0 past every constraint and trigger; what it held."""
    key, row = ROWS[table]
    where = f"WHERE {key} = '{row}'"
    was = _as_superuser(house, f"SELECT {column}::text FROM control.{table} {where}")
    _as_superuser(house, f"UPDATE control.{table} SET {column} = %s {where}", str(value))
    return was


def _as_superuser(house: House, statement: str, *values: Any) -> Any:
    url = postgres.superuser_url(house.settings, "millrace")
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, values or None)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_emptied_tables_hide_no_dag_until_a_person_says_so(outage: Outage) -> None:
    """Last: it leaves the control tables empty."""
    house = outage.house
    with DagWatch(house.settings) as watch:
        house.sql("TRUNCATE control.process, control.process_group, control.stream CASCADE")
        watch.last(SLOW_S)
        told = _check(house)
    print(f"three tables emptied: {watch.told}")
    assert set(watch.counts) == {DAGS}
    assert told.returncode == 1
    assert "read empty" in told.stdout
    assert "--accept-empty" in told.stdout
    assert _count(house) == DAGS
    _check(house, "--accept-empty")
    house.until(lambda: _count(house) == 1, "only the housekeeping is left")


def _check(house: House, *options: str) -> subprocess.CompletedProcess[str]:
    given = house.settings.environment() | {
        "PYTHONPATH": str(Path(__file__).parents[2] / "plugins")
    }
    return subprocess.run(
        [sys.executable, "-m", "millrace.cli", "check", *options],
        env=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
