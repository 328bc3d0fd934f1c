"""Stream runs: which generation a DAG run works on, and on which snapshot."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date

import pytest

from millrace.control import open_control, open_runs
from millrace.control.base import RunStore, Snapshot
from millrace.errors import UnknownName
from millrace.model import StreamRun
from tests.databases import execute

DAY = date(2026, 11, 20)


@pytest.fixture
def runs(database_url: str) -> Iterator[RunStore]:
    """A store with snapshots v1 and v2 and no runs."""
    for version in ("v1", "v2"):
        open_control(database_url).save_snapshot(Snapshot(version, {"streams": {}}))
    yield open_runs(database_url)
    execute(database_url, "TRUNCATE control.stream_run, control.stream_run_member")


def open_run(
    runs: RunStore, dag_run_id: str, *, clear: int = 0, version: str = "v1", new: bool = False
) -> tuple[int, str]:
    run = runs.open_stream_run(
        "s",
        DAY,
        dag_run_id=dag_run_id,
        clear_number=clear,
        control_version=version,
        new_generation=new,
    )
    return run.generation, run.control_version


def test_the_first_opens_generation_one_however_it_asks(runs: RunStore) -> None:
    assert open_run(runs, "manual") == (1, "v1")
    assert open_run(runs, "tick", new=True) == (2, "v1")


def test_every_task_of_a_dag_run_gets_the_same_answer(runs: RunStore) -> None:
    assert open_run(runs, "tick", new=True) == (1, "v1")
    assert open_run(runs, "tick", new=True, version="v2") == (1, "v1")
    found: list[tuple[int, str]] = []
    threads = [
        threading.Thread(target=lambda: found.append(open_run(runs, "next", new=True)))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(2, "v1")] * 20


def test_another_dag_run_joins_the_latest_with_the_current_snapshot(runs: RunStore) -> None:
    open_run(runs, "tick", new=True)
    assert open_run(runs, "manual", version="v2") == (1, "v2")
    assert open_run(runs, "tick", new=True, version="v2") == (1, "v1")
    assert runs.stream_run_of("s", "manual") == runs.stream_runs("s")[0]


def test_a_cleared_dag_run_keeps_its_generation_and_takes_the_current_snapshot(
    runs: RunStore,
) -> None:
    open_run(runs, "one", new=True)
    open_run(runs, "two", new=True)
    assert open_run(runs, "one", clear=1, version="v2", new=True) == (1, "v2")
    found = runs.stream_run_of("s", "one")
    assert found is not None
    assert (found.generation, found.control_version) == (1, "v2")


def test_how_it_ended_is_kept_until_it_is_taken_up_again(runs: RunStore) -> None:
    open_run(runs, "one")
    [run] = runs.stream_runs("s")
    runs.close_stream_run(run, "failed", "p failed")
    [ended] = runs.stream_runs()
    assert (ended.state, ended.message, ended.ended_at is None) == ("failed", "p failed", False)
    open_run(runs, "two")
    [resumed] = runs.stream_runs()
    assert (resumed.state, resumed.ended_at, resumed.opened_at) == ("running", None, run.opened_at)


def test_what_was_never_opened_is_named(runs: RunStore) -> None:
    assert runs.stream_run_of("s", "nobody") is None
    with pytest.raises(UnknownName, match="generation 7"):
        runs.close_stream_run(StreamRun("s", DAY, 7, "v1"), "success", "")
