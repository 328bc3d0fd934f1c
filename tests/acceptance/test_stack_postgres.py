"""The embedded Postgres by itself: spaces in paths, kill -9, stale files, closed doors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import psutil
import psycopg2
import pytest

from millrace.settings import Settings
from millrace.stack import part, postgres, processes
from millrace.stack.part import Part
from millrace.stack.ports import free_ports


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    # Longer than a unix socket's path may be, with spaces, quotes and a percent sign.
    home = tmp_path_factory.mktemp("a home") / ('it\'s 100% "long" ' + "x" * 100)
    (port,) = free_ports(1)
    return Settings.load({"MILLRACE_HOME": str(home), "MILLRACE_POSTGRES_PORT": str(port)})


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[Part]:
    part_ = postgres.part(settings)
    try:
        yield part_
    finally:
        part.stop(part_)


@pytest.fixture
def running(settings: Settings, server: Part) -> Part:
    _start(settings, server)
    return server


def _start(settings: Settings, server: Part) -> None:
    if not server.is_running:
        postgres.prepare(settings)
    part.start(server)
    part.wait_healthy(server)


def _ask(settings: Settings, statement: str) -> str:
    with closing(psycopg2.connect(postgres.superuser_url(settings))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""


def test_it_is_postgres_18_with_vectors(settings: Settings, running: Part) -> None:
    assert int(_ask(settings, "SHOW server_version_num")) >= 180000
    assert _ask(settings, "SELECT name FROM pg_available_extensions WHERE name = 'vector'")
    assert _ask(settings, "SHOW synchronous_commit") == "on"
    assert _ask(settings, "SHOW fsync") == "on"


def test_what_was_committed_survives_a_kill_of_every_process(
    settings: Settings, running: Part
) -> None:
    _ask(settings, "CREATE TABLE kept AS SELECT 42 AS answer")
    record = running.record
    assert record is not None
    processes.kill(processes.family(record))
    assert not running.is_running
    _start(settings, running)
    assert _ask(settings, "SELECT answer FROM kept") == "42"


def test_a_lock_file_that_names_a_stranger_does_not_stop_it(
    settings: Settings, running: Part
) -> None:
    record = running.record
    assert record is not None
    processes.kill(processes.family(record))
    lock = postgres.data_dir(settings) / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    _start(settings, running)
    assert postgres.is_healthy(settings)


def test_starting_it_twice_starts_it_once(settings: Settings, running: Part) -> None:
    before = running.record
    _start(settings, running)
    assert running.record == before


def test_it_listens_on_loopback_only_and_wants_a_password(
    settings: Settings, running: Part
) -> None:
    assert running.record is not None
    listening = [
        c for c in psutil.Process(running.record.pid).net_connections() if c.status == "LISTEN"
    ]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    wrong = postgres.superuser_url(settings).replace(_password(settings), "wrong")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(wrong)


def test_it_does_not_run_as_root(running: Part) -> None:
    assert running.record is not None
    assert psutil.Process(running.record.pid).uids().real != 0


def test_its_password_is_private_and_in_no_log(settings: Settings, running: Part) -> None:
    path = settings.home / "postgres-superuser.password"
    assert path.stat().st_mode & 0o077 == 0
    assert _password(settings) not in running.log_path.read_text()


def _password(settings: Settings) -> str:
    return postgres.superuser_url(settings).split(":")[2].partition("@")[0]
