"""Rows and snapshots: one consistent read, versions that last, and a deadline that holds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date

import pytest

from millrace.control import open_control, open_runs
from millrace.control.base import Snapshot
from millrace.control.session import open_session
from millrace.errors import ControlError, ControlUnavailable, UnknownName
from millrace.model import RunIdentity
from tests.databases import execute

CONTENT = {"format": 1, "streams": {"s": {"stream": {"owner": "é"}, "faults": []}}, "refused": {}}


@pytest.fixture(autouse=True)
def empty(database_url: str) -> Iterator[None]:
    """Tables as they were made."""
    yield
    execute(
        database_url,
        "TRUNCATE control.stream, control.process_group, control.process, control.schedule, "
        "control.source_file, control.process_dependency, control.snapshot, control.stream_run, "
        "control.stream_run_member, control.process_run, control.run_log",
    )


def test_rows_are_read_with_their_inactive_ones_and_without_update_times(database_url: str) -> None:
    execute(
        database_url,
        """
        INSERT INTO control.stream (stream_name, data_date) VALUES ('s', '2026-11-20');
        INSERT INTO control.process_group (group_name, stream_name, is_active) VALUES ('g', 's', false);
        INSERT INTO control.process (process_name, group_name, notebook_path, parameters)
        VALUES ('p', 'g', 'x.ipynb', '{"k": [1, 2.5, null]}');
        INSERT INTO control.schedule (stream_name, created_at) VALUES ('s', '2026-01-02 03:04+05');
        """,
    )
    rows = open_control(database_url).read_rows()
    [stream], [group], [process], [schedule] = (
        rows.streams,
        rows.groups,
        rows.processes,
        rows.schedules,
    )
    assert (stream["data_date"], stream["is_active"]) == ("2026-11-20", True)
    assert "updated_at" not in stream
    assert group["is_active"] is False
    assert process["parameters"] == {"k": [1, 2.5, None]}
    assert schedule["created_at"] == "2026-01-01T22:04:00+00:00"
    assert (rows.dependencies, rows.source_files, rows.busy) == ([], [], frozenset())
    assert rows.latest_version is None


def test_processes_with_live_runs_are_busy(database_url: str) -> None:
    runs = open_runs(database_url)
    for name, state in (("a", "queued"), ("b", "success"), ("c", "retrying"), ("d", "failed")):
        runs.mark(RunIdentity(name, date(2026, 11, 20), 1), state, "")  # type: ignore[arg-type]
    assert open_control(database_url).read_rows().busy == {"a", "c"}


def test_a_snapshot_comes_back_as_it_was_and_the_last_saved_is_the_latest(
    database_url: str,
) -> None:
    store = open_control(database_url)
    first, second = Snapshot("v1", CONTENT), Snapshot("v2", {**CONTENT, "streams": {}})
    store.save_snapshot(first)
    store.save_snapshot(second)
    assert store.load_snapshot("v1") == first
    assert (store.load_snapshot(), store.latest_version()) == (second, "v2")
    store.save_snapshot(first)
    assert store.latest_version() == store.read_rows().latest_version == "v1"


def test_a_snapshot_that_is_not_there_is_named(database_url: str) -> None:
    store = open_control(database_url)
    with pytest.raises(UnknownName, match="No snapshot v9"):
        store.load_snapshot("v9")
    with pytest.raises(UnknownName):
        store.load_snapshot()
    with pytest.raises(UnknownName):
        store.latest_version()


def test_pruning_keeps_what_runs_refer_to_and_the_latest(database_url: str) -> None:
    store, runs = open_control(database_url), open_runs(database_url)
    for number in range(5):
        store.save_snapshot(Snapshot(f"v{number}", CONTENT))
    identity = RunIdentity("p", date(2026, 11, 20), 1)
    runs.open_attempt(
        identity, stream_name="s", dag_run_id="d", control_version="v1", clear_number=0
    )
    assert store.prune_snapshots(keep_latest=2) == 2
    left = execute(database_url, "SELECT control_version FROM control.snapshot ORDER BY 1")
    assert left == [("v1",), ("v3",), ("v4",)]


@contextmanager
def deaf_listener() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    held.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def test_a_server_that_never_answers_is_given_up_at_the_deadline() -> None:
    with deaf_listener() as port:
        store = open_control(f"postgresql://millrace@127.0.0.1:{port}/millrace")
        with pytest.raises(ControlUnavailable, match=r"within 0\.2 s"):
            store.read_rows(deadline_s=0.2)
        with pytest.raises(ControlUnavailable, match=r"within 0\.2 s"):
            store.save_snapshot(Snapshot("v", CONTENT), deadline_s=0.2)


def test_a_server_that_falls_silent_in_the_middle_is_given_up_too(database_url: str) -> None:
    with (
        pytest.raises(ControlUnavailable, match=r"within 0\.3 s"),
        open_session(database_url, 0.3) as session,
    ):
        session.rows("SELECT pg_sleep(60)")


def test_no_server_says_where_it_was_looked_for_and_keeps_the_password() -> None:
    store = open_control("postgresql://millrace:hunter2@127.0.0.1:1/millrace")
    with pytest.raises(ControlUnavailable, match=r"millrace at 127\.0\.0\.1:1") as caught:
        store.read_rows()
    assert "hunter2" not in str(caught.value)


def test_a_statement_the_server_refuses_keeps_its_words(database_url: str) -> None:
    with (
        pytest.raises(ControlError, match="division by zero"),
        open_session(database_url, 5) as session,
    ):
        session.rows("SELECT 1/0")


def insert_half(database_url: str) -> None:
    with open_session(database_url, 5, transaction=True) as session:
        session.rows("INSERT INTO control.stream (stream_name) VALUES ('half')")
        session.rows("SELECT 1/0")


def test_a_transaction_that_fails_leaves_nothing(database_url: str) -> None:
    with pytest.raises(ControlError):
        insert_half(database_url)
    assert open_control(database_url).read_rows().streams == []


def test_deferred_checks_that_fail_at_commit_are_heard(database_url: str) -> None:
    with (
        pytest.raises(ControlError, match="process_group_stream_exists"),
        open_session(database_url, 5, transaction=True) as session,
    ):
        session.rows("INSERT INTO control.process_group (group_name, stream_name) VALUES ('g','x')")
