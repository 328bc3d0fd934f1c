"""What a notebook's kernel may do in the control database: its own run, and nothing else."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import date

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege

from millrace.control import open_control
from millrace.control.base import Snapshot
from millrace.control.postgres_runs import PostgresRuns
from millrace.model import Attempt, Outcome, RunIdentity
from tests.databases import as_role, execute

CONTENT = {
    "format": 1,
    "streams": {
        "s": {
            "stream": {"question": "why?", "parameters": {"a": 1, "b": 1}},
            "processes": [
                {"process_name": "other", "parameters": {}},
                {
                    "process_name": "p",
                    "parameters": {"b": 2},
                    "source_file": "f",
                    "gen_model": "m",
                    "embed_model": None,
                    "collection": "c",
                    "llm_priority": "batch",
                },
            ],
            "source_files": [{"source_file": "f", "file_type": "csv"}],
        }
    },
}


@pytest.fixture
def kernel_url(database_url: str) -> str:
    """URL of the role that kernels have."""
    return as_role(database_url, "millrace_kernel")


@pytest.fixture
def runs(database_url: str) -> PostgresRuns:
    """The store, with a snapshot to run on and no runs."""
    execute(database_url, "TRUNCATE control.process_run, control.run_log")
    open_control(database_url).save_snapshot(Snapshot("v1", CONTENT))
    return PostgresRuns(database_url)


@pytest.fixture
def attempt(runs: PostgresRuns) -> Attempt:
    """An open attempt at process p."""
    found = runs.open_attempt(
        RunIdentity("p", date(2026, 11, 20), 1),
        stream_name="s",
        dag_run_id="d",
        control_version="v1",
        clear_number=0,
    )
    assert found is not None
    return found


def refusal(url: str, token: str) -> str | None:
    """SQLSTATE with which the fence is refused, or None."""
    try:
        execute(url, "SELECT control.kernel_assert_fence(%s)", [token])
    except psycopg2.Error as exc:
        return exc.pgcode
    return None


def test_a_kernel_reads_its_own_run_as_its_snapshot_has_it(
    kernel_url: str, attempt: Attempt
) -> None:
    [(run,)] = execute(kernel_url, "SELECT control.kernel_run(%s)", [attempt.token])
    assert run == {
        "run_id": "p__2026-11-20__g1",
        "process_name": "p",
        "stream_name": "s",
        "data_date": "2026-11-20",
        "generation": 1,
        "attempt": 1,
        "fence": 1,
        "control_version": "v1",
        "question": "why?",
        "embed_model": None,
        "gen_model": "m",
        "collection": "c",
        "llm_priority": "batch",
        "parameters": {"a": 1, "b": 2},
        "source_file": {"source_file": "f", "file_type": "csv"},
    }


def test_progress_changes_what_it_gives_and_finish_the_counts(
    kernel_url: str, runs: PostgresRuns, attempt: Attempt
) -> None:
    progress = "SELECT control.kernel_progress(%s, %s, %s, %s, %s, %s, %s)"
    execute(kernel_url, progress, [attempt.token, 40, None, 100, 7, 1.5, "12 of 40"])
    execute(kernel_url, progress, [attempt.token, None, 12, None, None, None, None])
    [entry] = runs.log()
    assert (entry.source_rows, entry.target_rows, entry.tokens_in, entry.tokens_out) == (
        40,
        12,
        100,
        7,
    )
    assert (entry.llm_seconds, entry.message) == (1.5, "12 of 40")
    execute(kernel_url, "SELECT control.kernel_finish(%s, 41, 39)", [attempt.token])
    [entry] = runs.log()
    assert (entry.source_rows, entry.target_rows, entry.tokens_in) == (41, 39, 100)


def test_a_stale_ended_or_made_up_token_is_refused(
    kernel_url: str, runs: PostgresRuns, attempt: Attempt
) -> None:
    assert refusal(kernel_url, attempt.token) is None
    assert refusal(kernel_url, "made up") == "MR001"
    runs.close_attempt(attempt, Outcome("failed", will_retry=True))
    assert refusal(kernel_url, attempt.token) == "MR001"


def test_a_taken_over_attempt_is_refused_after_waiting_for_the_takeover(
    database_url: str, kernel_url: str, attempt: Attempt
) -> None:
    answers: list[str | None] = []
    with closing(psycopg2.connect(database_url)) as taking:
        taking.cursor().execute(
            "UPDATE control.process_run SET fence = fence + 1, token_sha256 = 'other'"
        )
        waiting = threading.Thread(
            target=lambda: answers.append(refusal(kernel_url, attempt.token))
        )
        waiting.start()
        taking.commit()
        waiting.join()
    assert answers == ["MR001"]


def test_the_fence_holds_until_the_effect_is_committed(
    database_url: str, kernel_url: str, attempt: Attempt
) -> None:
    with closing(psycopg2.connect(kernel_url)) as effect:
        effect.cursor().execute("SELECT control.kernel_assert_fence(%s)", (attempt.token,))
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            execute(
                database_url,
                "SET lock_timeout = '50ms'; UPDATE control.process_run SET fence = fence + 1",
            )


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM control.stream",
        "SELECT * FROM control.process_run",
        "SELECT token_sha256 FROM control.process_run",
        "SELECT * FROM control.run_log",
        "SELECT * FROM control.snapshot",
        "SELECT * FROM control.change_log",
        "SELECT * FROM cntl_af.cntl_cfg_log",
        "INSERT INTO cntl_af.cntl_cfg_strem (strem_nm) VALUES ('x')",
        "UPDATE control.process_run SET state = 'success'",
        "DELETE FROM control.run_log",
        "SELECT control.attempt_of('x')",
        "SELECT * FROM pg_stat_activity",
        "SELECT * FROM pg_stat_get_activity(NULL)",
        "SELECT pg_stat_get_backend_activity(1)",
        "SELECT pg_terminate_backend(1)",
        "SELECT pg_cancel_backend(1)",
        "SET track_activities = on",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "CREATE SCHEMA mine",
        "CREATE TABLE control.mine ()",
        "CREATE TABLE public.mine ()",
        "SET ROLE millrace",
    ],
)
def test_a_kernel_may_not(kernel_url: str, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        execute(kernel_url, statement)


def test_a_kernels_statements_are_not_published(
    postgres_server: str, kernel_url: str, attempt: Attempt
) -> None:
    with closing(psycopg2.connect(kernel_url)) as kernel:
        kernel.cursor().execute("SELECT control.kernel_run(%s)", (attempt.token,))
        seen = execute(
            postgres_server,
            "SELECT query FROM pg_stat_activity WHERE pid = %s",
            [kernel.info.backend_pid],
        )
    assert seen == [("",)]


def test_an_author_reads_the_tables_and_writes_none(database_url: str, attempt: Attempt) -> None:
    author_url = as_role(database_url, "millrace_author")
    assert execute(author_url, "SELECT control_version FROM control.snapshot") == [("v1",)]
    assert execute(author_url, "SELECT state FROM control.process_run") == [("running",)]
    assert refusal(author_url, attempt.token) is None
    for statement in (
        "INSERT INTO control.stream (stream_name) VALUES ('x')",
        "UPDATE control.process_run SET fence = 9",
        "DELETE FROM control.snapshot",
    ):
        with pytest.raises(InsufficientPrivilege):
            execute(author_url, statement)
