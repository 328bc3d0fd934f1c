"""The runner on the real control store: what run_log and process_run say afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace.control import open_control
from millrace.control.base import Snapshot
from millrace.errors import MillraceError
from millrace.model import ProcessSpec
from millrace.runner import run_process
from millrace.runner.wiring import wired
from millrace.settings import Settings
from tests.databases import as_role, execute
from tests.notebooks.workplace import Workplace, executed_cells, row, snapshot_content

LOG = "SELECT status, message, executed_notebook_uri, notebook_sha256 FROM control.run_log"


@pytest.fixture
def place(tmp_path: Path, database_url: str) -> Iterator[Workplace]:
    yield Workplace(tmp_path)
    execute(
        database_url,
        "TRUNCATE control.stream_run, control.stream_run_member, control.process_run, control.run_log",
    )


@pytest.fixture
def settings(place: Workplace, database_url: str) -> Settings:
    return place.settings(
        MILLRACE_DATABASE_URL=database_url,
        MILLRACE_KERNEL_DATABASE_URL=as_role(database_url, "millrace_kernel"),
    )


def run(place: Workplace, settings: Settings, spec: ProcessSpec, **order: Any) -> str:
    """Run it on the real store; the message of its failure, or ''."""
    version = secrets.token_hex(8)
    snapshot = Snapshot(version, snapshot_content(spec))
    open_control(settings.database_url).save_snapshot(snapshot)
    try:
        run_process(replace(place.order(**order), control_version=version), wired(settings))
    except MillraceError as exc:
        return str(exc)
    return ""


def test_a_success_is_recorded_and_not_run_again(place: Workplace, settings: Settings) -> None:
    place.write(
        "step.ipynb",
        "import json, os, psycopg2\n"
        "connection = psycopg2.connect(os.environ['MILLRACE_KERNEL_DATABASE_URL'])\n"
        "cursor = connection.cursor()\n"
        "cursor.execute('SELECT control.kernel_run(%s)', [os.environ['MILLRACE_RUN_TOKEN']])\n"
        "print(cursor.fetchone()[0]['run_id'] == run_id)",
        parameters="run_id: str = ''",
    )

    assert run(place, settings, row()) == ""
    assert run(place, settings, row()) == ""

    ((status, message, uri, sha256),) = execute(settings.database_url, LOG)
    assert (status, message) == ("success", "")
    assert uri.endswith("/attempt-1/notebook.ipynb")
    assert len(sha256) == 64
    assert executed_cells(place)[2].outputs[0].text == "True\n"
    assert execute(settings.database_url, "SELECT state FROM control.process_run") == [("success",)]


@pytest.mark.parametrize(
    ("cell", "columns", "words"),
    [
        ("raise ValueError('no price')", {}, "cell 2: ValueError: no price"),
        ("while True: pass", {"timeout_s": 3}, "did not finish within timeout_s=3 (cell 2: "),
        ("x = bytearray(1 << 40)", {"memory_limit_mb": 256}, "exceeded memory_limit_mb=256"),
        ("1", {"notebook_path": "stap.ipynb"}, "Did you mean step.ipynb?"),
        ("1", {"parameters": {"top_k": 1}}, "parameter top_k is not declared by step.ipynb"),
    ],
)
def test_a_failure_is_recorded_with_what_to_do(
    place: Workplace, settings: Settings, cell: str, columns: dict[str, Any], words: str
) -> None:
    place.write("step.ipynb", cell)

    told = run(place, settings, row(**columns))

    ((status, message, _, _),) = execute(settings.database_url, LOG)
    assert status == "failed"
    assert words in message
    assert message == told
    assert execute(settings.database_url, "SELECT state FROM control.process_run") == [("failed",)]


def test_airflow_will_try_again(place: Workplace, settings: Settings) -> None:
    place.write("step.ipynb", "1/0")

    run(place, settings, row(), will_retry=True)

    states = execute(settings.database_url, "SELECT state FROM control.process_run")
    assert states == [("retrying",)]


def test_no_secret_reaches_the_database(place: Workplace, settings: Settings) -> None:
    place.write(
        "step.ipynb",
        "import os\nkey = 'sk-planted-A1b2C3d4E5f6G7h8'\n"
        "raise ValueError(f\"{key} {os.environ['MILLRACE_RUN_TOKEN']} \"\n"
        "    f\"{os.environ['MILLRACE_KERNEL_DATABASE_URL']}\")",
    )

    run(place, settings, row())

    rows = execute(
        settings.database_url,
        "SELECT to_jsonb(l)::text FROM control.run_log l "
        "UNION ALL SELECT to_jsonb(p)::text FROM control.process_run p",
    )
    text = "".join(line for (line,) in rows)
    assert "ValueError: [redacted] [redacted] [redacted]" in text
    assert "planted" not in text
