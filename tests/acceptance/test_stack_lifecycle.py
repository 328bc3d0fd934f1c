"""The whole embedded stack through the millrace command: up, twice, after a kill, down."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from millrace.stack import processes
from millrace.stack.waiting import wait_until
from tests.house import write_notebook
from tests.stack_fixture import TestStack, make_stack, running_stack

PARTS = {
    *("postgres", "gateway", "jupyterlab", "supervisor"),
    *("api-server", "scheduler", "dag-processor", "triggerer"),
}

NOTEBOOKS = {
    "good.ipynb": "from millrace import open_run\n"
    "open_run(run_id).finish(source_rows=3, target_rows=2)",
    "bad.ipynb": "prices = {}\n# %%\nprices['bread']",
}
STREAM = """
BEGIN;
INSERT INTO control.stream (stream_name) VALUES ('{0}');
INSERT INTO control.process_group (group_name, stream_name) VALUES ('{0}_group', '{0}');
INSERT INTO control.process (process_name, group_name, notebook_path)
VALUES ('{0}_process', '{0}_group', '{0}.ipynb');
COMMIT;
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestStack]:
    """A stack that these tests may kill."""
    home = tmp_path_factory.mktemp("own stack")
    notebooks = home / "notebooks"
    notebooks.mkdir()
    for name, source in NOTEBOOKS.items():
        write_notebook(notebooks / name, source, 'run_id: str = ""')
    with running_stack(home, MILLRACE_NOTEBOOKS_DIR=str(notebooks)) as running:
        yield running


def _status(stack: TestStack) -> dict[str, dict[str, Any]]:
    done = stack.cli("status", "--json")
    (told,) = json.loads(done.stdout)
    return {part["name"]: part for part in told["parts"]}


def _pids(stack: TestStack) -> dict[str, int]:
    return {name: part["pid"] for name, part in _status(stack).items()}


def _require_running(stack: TestStack) -> None:
    # A part that is busy may miss one question: what counts is that all come to answer.
    states: dict[str, str] = {}

    def look() -> bool:
        states.update({name: part["state"] for name, part in _status(stack).items()})
        return states == dict.fromkeys(PARTS, "running")

    assert wait_until(look, timeout_s=60, poll_s=1), (states, stack.logs())


def _answer(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


def test_every_part_runs_and_models_are_named(own: TestStack) -> None:
    _require_running(own)
    done = own.cli("status")
    assert done.returncode == 0
    assert "Models:" in done.stdout


def test_a_second_up_leaves_everything_as_it_is(own: TestStack) -> None:
    before = _pids(own)
    done = own.cli("up")
    assert done.returncode == 0, done.stderr
    assert own.settings.airflow_url in done.stdout
    assert own.settings.airflow_password not in done.stdout
    assert _pids(own) == before


def test_nothing_listens_beyond_loopback(own: TestStack) -> None:
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in own.family()
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(listening) >= 4
    assert {ip for ip, _ in listening} <= {"127.0.0.1", "::1"}


def test_no_door_is_open_without_a_password(own: TestStack) -> None:
    settings = own.settings
    closed = {
        url: _answer(url)
        for url in (
            f"{settings.airflow_url}/api/v2/dags",
            f"{settings.gateway_url}/api/tags",
            f"http://127.0.0.1:{settings.jupyter_port}/api/contents",
        )
    }
    assert set(closed.values()) <= {401, 403}, closed


def test_no_secret_is_in_a_log_or_open_to_other_users(own: TestStack) -> None:
    texts = {p: p.read_text(errors="replace") for p in (own.home / "logs").iterdir()}
    assert texts
    assert [p for p, text in texts.items() for s in own.settings.secrets() if s in text] == []
    private = ("settings.env", "airflow/secrets.json", "airflow/passwords.json")
    assert [n for n in private if (own.home / n).stat().st_mode & 0o077] == []


def _insert_stream(stack: TestStack, name: str) -> None:
    with closing(psycopg2.connect(stack.database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(STREAM.format(name))


def test_run_wait_follows_a_fresh_stream_to_its_end(own: TestStack) -> None:
    _insert_stream(own, "good")
    done = own.cli("run", "good", "--wait", "--data-date", "2026-11-19")
    assert done.returncode == 0, (done.stderr, own.logs())
    assert "good 2026-11-19 generation 1: success" in done.stdout
    assert "rows 3 -> 2" in done.stdout
    (stream,) = json.loads(own.cli("streams", "--json").stdout)
    assert (stream["stream"], stream["last_run"]) == ("good", "success 2026-11-19")
    (attempt,) = json.loads(own.cli("runs", "good", "--json").stdout)
    assert (attempt["process"], attempt["status"]) == ("good_process", "success")
    assert "[cell " in own.cli("logs", "good_process").stdout
    assert own.cli("check").stdout == "All is well.\n"


def test_run_wait_fails_by_process_cell_and_error(own: TestStack) -> None:
    _insert_stream(own, "bad")
    done = own.cli("run", "bad", "--wait")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("millrace: ")]
    assert "bad_process failed: " in line
    assert "KeyError" in line
    assert "cell" in line
    assert f"{own.settings.airflow_url}/dags/process__bad_process/runs/" in done.stderr


def test_up_works_after_a_kill_of_everything_even_by_two_at_once(own: TestStack) -> None:
    before = _pids(own)
    processes.kill(own.family())
    assert {part["state"] for part in _status(own).values()} == {"dead"}
    started = [own.start_cli("up"), own.start_cli("up")]
    ended = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0, 0], (ended, own.logs())
    _require_running(own)
    assert not set(_pids(own).values()) & set(before.values())


def test_taken_ports_are_named_before_anything_starts(own: TestStack, tmp_path: Path) -> None:
    ours = own.settings
    other = make_stack(
        tmp_path / "other",
        MILLRACE_GATEWAY_PORT=str(ours.gateway_port),
        MILLRACE_AIRFLOW_PORT=str(ours.airflow_port),
    )
    done = other.cli("up")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("millrace: ")]
    assert f"port {ours.gateway_port} for gateway is taken" in line
    assert f"port {ours.airflow_port} for api-server is taken" in line
    assert "MILLRACE_AIRFLOW_PORT" in line
    assert other.family() == []


def test_another_port_for_a_running_part_is_refused(own: TestStack, tmp_path: Path) -> None:
    other = make_stack(own.home)
    done = other.cli("up")
    assert done.returncode == 1
    assert "millrace down" in done.stderr
    assert _status(own)["postgres"]["state"] == "running"


def test_after_down_nothing_is_left_and_down_again_is_fine(own: TestStack) -> None:
    family = own.family()
    assert len(family) > len(PARTS)
    assert own.cli("down").returncode == 0
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert {part["state"] for part in _status(own).values()} == {"stopped"}
    assert own.cli("status").returncode == 1
    assert own.cli("down").returncode == 0
