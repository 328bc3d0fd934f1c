"""The arbiter: one process run per identity, whoever asks, however many ask at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg2
import pytest

from millrace.control import open_control
from millrace.control.base import Request, Snapshot
from millrace.control.postgres_runs import PostgresRuns
from millrace.errors import AlreadyRunning, StaleFence, UnknownName
from millrace.model import Attempt, Outcome, RunIdentity
from tests.databases import execute

DAY = date(2026, 11, 20)
ME = RunIdentity("p", DAY, 1)
BEFORE = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def runs(database_url: str) -> Iterator[PostgresRuns]:
    """A store with snapshots v1 and v2 and no runs."""
    for version in ("v1", "v2"):
        open_control(database_url).save_snapshot(Snapshot(version, {"streams": {}}))
    yield PostgresRuns(database_url, deadline_s=30)
    execute(
        database_url,
        "TRUNCATE control.stream_run, control.stream_run_member, control.process_run, control.run_log",
    )


def later() -> datetime:
    """A moment after everything so far."""
    return datetime.now(UTC) + timedelta(seconds=1)


def ask(began_at: datetime = BEFORE, *, by: str = "d#0", version: str = "v1") -> Request:
    return Request(ME, "s", version, by, began_at)


def take(runs: PostgresRuns, dag_run_id: str = "own", clear_number: int = 0) -> Attempt | None:
    return runs.open_attempt(
        ME,
        stream_name="s",
        dag_run_id=dag_run_id,
        control_version="v1",
        clear_number=clear_number,
    )


def taken(runs: PostgresRuns, dag_run_id: str = "own", clear_number: int = 0) -> Attempt:
    attempt = take(runs, dag_run_id, clear_number)
    assert attempt is not None
    return attempt


def end(runs: PostgresRuns, status: str) -> None:
    runs.close_attempt(taken(runs), Outcome(status, status))  # type: ignore[arg-type]


def at_once(times: int, call: Callable[[int], object]) -> None:
    """Call from many threads at the same moment."""
    barrier = threading.Barrier(times)

    def run(number: int) -> None:
        barrier.wait(30)
        call(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_of_twenty_at_once_one_starts_and_the_others_wait(runs: PostgresRuns) -> None:
    verdicts: Counter[str] = Counter()
    at_once(20, lambda n: verdicts.update([runs.request(ask(by=f"d{n}#0")).verdict]))
    assert verdicts == {"start": 1, "wait": 19}


def test_of_twenty_at_once_one_restarts_a_failure(runs: PostgresRuns) -> None:
    end(runs, "failed")
    verdicts: Counter[str] = Counter()
    began_at = later()
    at_once(20, lambda n: verdicts.update([runs.request(ask(began_at, by=f"d{n}#0")).verdict]))
    assert verdicts == {"restart": 1, "wait": 19}


def test_a_request_leaves_the_run_queued_with_who_asked(runs: PostgresRuns) -> None:
    run = runs.request(ask(by="dag run#3", version="v2")).run
    assert (run.state, run.requested_by, run.control_version) == ("queued", "dag run#3", "v2")
    assert runs.process_run(ME) == run
    assert runs.process_run_of("p", "dag run") == run
    assert runs.process_run_of("p", "dag") is None


@pytest.mark.parametrize("state", ["queued", "running", "retrying"])
def test_a_live_run_is_waited_for(runs: PostgresRuns, state: str) -> None:
    runs.mark(ME, state, "")  # type: ignore[arg-type]
    assert runs.request(ask(later())).verdict == "wait"


def test_a_success_is_done_and_redone_only_for_who_was_cleared_after_it(runs: PostgresRuns) -> None:
    end(runs, "success")
    assert runs.request(ask(later())).verdict == "done"
    assert runs.request(replace(ask(BEFORE), redo=True)).verdict == "done"
    again = runs.request(replace(ask(later(), version="v2"), redo=True))
    assert (again.verdict, again.run.state, again.run.control_version) == (
        "restart",
        "queued",
        "v2",
    )


def test_a_failure_is_restarted_by_who_began_after_it_and_heard_by_who_began_before(
    runs: PostgresRuns,
) -> None:
    end(runs, "failed")
    heard = runs.request(ask(BEFORE))
    assert (heard.verdict, heard.run.message) == ("failed", "failed")
    assert runs.request(ask(later(), by="new#0")).verdict == "restart"
    assert runs.request(ask(BEFORE)).verdict == "wait"


def test_two_waiters_do_not_restart_under_each_others_hands(runs: PostgresRuns) -> None:
    end(runs, "failed")
    began_at = later()
    assert runs.request(ask(began_at, by="one#0")).verdict == "restart"
    runs.close_attempt(taken(runs), Outcome("failed", "again"))
    # Both began before the second failure, so both hear of it.
    early = datetime.now(UTC) - timedelta(seconds=5)
    assert runs.request(ask(early, by="two#0")).verdict == "failed"


def test_a_skipped_run_lets_others_go_on_and_is_resumed_later(runs: PostgresRuns) -> None:
    runs.mark(ME, "skipped", "not today")
    assert runs.request(ask(BEFORE)).verdict == "done"
    assert runs.request(ask(later())).verdict == "restart"


def test_a_version_without_a_snapshot_is_refused(runs: PostgresRuns) -> None:
    with pytest.raises(UnknownName, match="v99"):
        runs.request(ask(version="v99"))
    assert runs.process_run(ME) is None


def test_attempts_count_up_and_each_has_its_own_fence_and_token(runs: PostgresRuns) -> None:
    first = taken(runs)
    runs.close_attempt(first, Outcome("failed", "boom", will_retry=True))
    run = runs.process_run(ME)
    assert run is not None
    assert (run.state, run.ended_at) == ("retrying", None)
    second = taken(runs)
    assert (first.attempt, first.fence, second.attempt, second.fence) == (1, 1, 2, 2)
    assert first.token != second.token
    runs.close_attempt(
        second, Outcome("success", executed_notebook_uri="file:///x", notebook_sha256="ab")
    )
    newest, oldest = runs.log()
    assert (oldest.status, oldest.message) == ("failed", "boom")
    assert (newest.status, newest.executed_notebook_uri) == ("success", "file:///x")


def test_a_success_is_not_taken_again_unless_its_dag_run_was_cleared(runs: PostgresRuns) -> None:
    runs.close_attempt(taken(runs, clear_number=1), Outcome("success"))
    assert take(runs, clear_number=1) is None
    assert taken(runs, clear_number=2).attempt == 2


def test_a_live_attempt_of_another_dag_run_is_not_disturbed(runs: PostgresRuns) -> None:
    taken(runs, "one")
    with pytest.raises(AlreadyRunning, match="one"):
        take(runs, "two")
    assert [e.status for e in runs.log()] == ["running"]


def test_a_silent_attempt_is_taken_over_and_cannot_write(
    database_url: str, runs: PostgresRuns
) -> None:
    lost = taken(runs, "one")
    patient = PostgresRuns(database_url, fresh_s=-1.0)
    heir = taken(patient, "two")
    with pytest.raises(StaleFence, match="fence 1"):
        runs.heartbeat(lost)
    with pytest.raises(StaleFence, match="fence 1"):
        runs.close_attempt(lost, Outcome("success"))
    assert [(e.fence, e.status) for e in runs.log()] == [(2, "running"), (1, "crashed")]
    runs.heartbeat(heir)
    runs.close_attempt(heir, Outcome("success"))
    run = runs.process_run(ME)
    assert run is not None
    assert run.state == "success"


def test_the_same_dag_run_takes_its_own_lost_attempt_over(runs: PostgresRuns) -> None:
    lost = taken(runs)
    assert taken(runs).fence == 2
    with pytest.raises(StaleFence):
        runs.heartbeat(lost)


def test_of_twenty_attempts_at_once_the_last_fence_alone_closes(runs: PostgresRuns) -> None:
    attempts: list[Attempt] = []
    at_once(20, lambda _: attempts.append(taken(runs)))
    closed: list[int] = []

    def close(number: int) -> None:
        try:
            runs.close_attempt(attempts[number], Outcome("success"))
            closed.append(attempts[number].fence)
        except StaleFence:
            return

    at_once(20, close)
    assert closed == [20]
    assert Counter(e.status for e in runs.log()) == {"crashed": 19, "success": 1}


def test_a_heartbeat_does_not_wait_for_the_attempts_own_effects(
    database_url: str, runs: PostgresRuns
) -> None:
    attempt = taken(runs)
    with closing(psycopg2.connect(database_url)) as effect:
        effect.cursor().execute("SELECT control.kernel_assert_fence(%s)", (attempt.token,))
        PostgresRuns(database_url, deadline_s=5).heartbeat(attempt)


def test_lost_attempts_are_crashed_and_live_ones_left(
    database_url: str, runs: PostgresRuns
) -> None:
    lost = taken(runs)
    assert runs.crash_lost(silent_for_s=3600) == []
    with closing(psycopg2.connect(database_url)) as effect:
        effect.cursor().execute("SELECT control.kernel_assert_fence(%s)", (lost.token,))
        assert runs.crash_lost(silent_for_s=-1) == []
    [entry] = runs.crash_lost(silent_for_s=-1)
    assert (entry.identity, entry.status, entry.ended_at is None) == (ME, "crashed", False)
    run = runs.process_run(ME)
    assert run is not None
    assert (run.state, run.fence) == ("failed", 2)
    with pytest.raises(StaleFence):
        runs.close_attempt(lost, Outcome("success"))
    assert runs.crash_lost(silent_for_s=-1) == []


def test_a_mark_takes_the_run_from_its_attempt(runs: PostgresRuns) -> None:
    attempt = taken(runs)
    runs.mark(ME, "success", "marked by a person")
    with pytest.raises(StaleFence):
        runs.heartbeat(attempt)
    [entry] = runs.log()
    assert (entry.status, entry.message) == ("success", "marked by a person")
    assert take(runs) is None


def test_a_mark_without_an_attempt_is_in_the_log_once(runs: PostgresRuns) -> None:
    runs.mark(ME, "failed", "its dependency failed", stream_name="s", dag_run_id="d")
    runs.mark(ME, "failed", "its dependency failed", stream_name="s", dag_run_id="d")
    [entry] = runs.log(stream_name="s")
    assert (entry.status, entry.message, entry.dag_run_id) == (
        "failed",
        "its dependency failed",
        "d",
    )
    runs.mark(ME, "success", "never mind")
    assert [e.status for e in runs.log(process_name="p")] == ["success", "failed"]


def test_giving_up_after_the_last_attempt_adds_nothing_to_the_log(runs: PostgresRuns) -> None:
    runs.close_attempt(taken(runs), Outcome("failed", "boom", will_retry=True))
    runs.mark(ME, "failed", "no tries left")
    assert [e.message for e in runs.log()] == ["boom"]
    run = runs.process_run(ME)
    assert run is not None
    assert (run.state, run.message) == ("failed", "no tries left")


def test_many_runs_come_in_one_call(runs: PostgresRuns) -> None:
    others = [RunIdentity("p", DAY, n) for n in (2, 3)]
    runs.mark(others[0], "success", "")
    found = runs.process_runs([ME, *others])
    assert {i: r.state for i, r in found.items()} == {others[0]: "success"}
    assert runs.process_runs([]) == {}
    assert runs.latest_generation("p", DAY) == 2
    assert runs.latest_generation("p", date(2000, 1, 1)) == 1
