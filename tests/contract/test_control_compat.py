"""The compatibility views: existing scripts run unchanged, and mean what they meant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import psycopg2
import pytest
from psycopg2.errors import (
    CheckViolation,
    NotNullViolation,
    ObjectNotInPrerequisiteState,
    UniqueViolation,
)

from millrace.control import open_control, open_runs
from millrace.control.base import Snapshot
from millrace.model import Outcome, RunIdentity
from millrace.plan import make_plan, spec
from tests.databases import execute

# As found in the field: tables without a schema, flags as numbers and as text, empty strings,
# columns left out, explicit and missing time stamps, a process before its source file.
SCRIPT = """
INSERT INTO cntl_cfg_strem VALUES
    ('merch', 'What sells?', NULL, 1, 'ola', 1, '2023-05-01 10:00:00'),
    ('pinned', NULL, '2023-05-01', 0, '', '1', CURRENT_TIMESTAMP);
INSERT INTO cntl_cfg_strem (strem_nm) VALUES ('bare');
INSERT INTO cntl_cfg_prcs_grp (prcs_grp, strem_nm, prir, act_f, upt_dt)
VALUES ('g1', 'merch', 1, 1, now()), ('g2', 'merch', '1', 1, NULL), ('g3', 'pinned', NULL, 1, NULL);
INSERT INTO cntl_cfg_prcs
    (prcs_nm, prcs_grp, prir, sys_file, embed_model, gen_model, collection, nb_path_nm, nb_parm, act_f, upt_dt)
VALUES
    ('load', 'g1', 1, 'orders', 'minilm', '', '', 'notebooks/load', 'bucket|prefix|name', 1, now()),
    ('rank', 'g2', 1, '', '', 'llama3', 'goods', 'rank.ipynb', '{"top_k": 5}', 1, now()),
    ('pin', 'g3', 1, NULL, NULL, NULL, NULL, './pin.ipynb', '', 1, now()),
    ('off', 'g1', 9, '', '', '', '', 'off.ipynb', NULL, 0, now());
INSERT INTO cntl_sys_fle (sys_nm, file_type, dlm, chunk_size, overlap)
VALUES ('orders', 'CSV', ';', 500, 50);
INSERT INTO cntl_cfg_sys_file (sys_nm, file_type, dlm, chunk_size) VALUES ('small', '.pdf', '', 20);
INSERT INTO cntl_cfg_prcs_depn (prcs_nm, dpnd_prcs_nm, act_f) VALUES ('rank', 'load', 1), ('rank', 'off', 1);
INSERT INTO cntl_cfg_schedule (strem_nm, minutes, hours, day_month, months, day_week)
VALUES ('merch', 0, 6, '*', '', 'mon-fri'), ('pinned', '30', '', NULL, '*', '*');
"""


@pytest.fixture(autouse=True)
def script(database_url: str) -> Iterator[None]:
    """The script, run as it stands."""
    execute(database_url, SCRIPT)
    yield
    execute(
        database_url,
        "TRUNCATE control.stream, control.process_group, control.process, control.schedule, "
        "control.source_file, control.process_dependency, control.process_run, control.run_log",
    )


def test_its_streams_are_planned_as_they_were_meant(database_url: str) -> None:
    plan = make_plan(open_control(database_url).read_rows(), None)
    assert plan.faults == {}
    assert list(plan.content["streams"]) == ["merch", "pinned"]
    assert plan.notes == ("stream bare has no active process, and so no DAG",)
    load = spec(plan.content, "load")
    assert load.process.parameters == {"nb_parm": "bucket|prefix|name"}
    assert load.process.notebook_path == "load.ipynb"
    assert load.source_file is not None
    assert (load.source_file.file_type, load.source_file.delimiter) == ("csv", ";")
    assert (load.stream.owner, load.stream.is_live) == ("ola", True)
    rank = spec(plan.content, "rank")
    assert (rank.process.parameters, rank.process.source_file) == ({"top_k": 5}, None)
    assert rank.dependency_streams == {"load": "merch"}
    pinned = spec(plan.content, "pin").stream
    assert (pinned.is_live, pinned.data_date, pinned.owner) == (False, date(2023, 5, 1), "millrace")
    crons = {n: e["schedule"] for n, e in plan.content["streams"].items()}
    assert [crons["merch"][k] for k in ("minute", "hour", "month", "day_of_week")] == [
        "0",
        "6",
        "*",
        "mon-fri",
    ]
    assert [crons["pinned"][k] for k in ("minute", "hour", "day_of_month")] == ["30", "0", "*"]


def test_rows_are_shown_back_under_their_names(database_url: str) -> None:
    assert execute(
        database_url,
        "SELECT prcs_nm, prcs_grp, prir, sys_file, gen_model, nb_path_nm, nb_parm, act_f "
        "FROM cntl_cfg_prcs ORDER BY prcs_nm",
    ) == [
        ("load", "g1", 1, "orders", None, "notebooks/load", "bucket|prefix|name", 1),
        ("off", "g1", 9, None, None, "off.ipynb", None, 0),
        ("pin", "g3", 1, None, None, "./pin.ipynb", "", 1),
        ("rank", "g2", 1, None, "llama3", "rank.ipynb", '{"top_k": 5}', 1),
    ]
    assert execute(
        database_url,
        "SELECT strem_nm, question, data_dt, go_live, act_f, extract(year FROM upt_dt)::int = 2023 "
        "FROM cntl_cfg_strem ORDER BY strem_nm",
    ) == [
        ("bare", "", None, 1, 1, False),
        ("merch", "What sells?", None, 1, 1, True),
        ("pinned", "", date(2023, 5, 1), 0, 1, False),
    ]
    assert execute(
        database_url, "SELECT sys_nm, dlm, chunk_size, overlap FROM cntl_sys_fle ORDER BY sys_nm"
    ) == [("orders", ";", 500, 50), ("small", None, 20, 2)]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (
            "UPDATE cntl_cfg_strem SET act_f = 0, go_live = NULL WHERE strem_nm = 'pinned'",
            "SELECT is_active, is_live FROM control.stream WHERE stream_name = 'pinned'",
        ),
        (
            "UPDATE cntl_cfg_prcs_grp SET prir = 4 WHERE prcs_grp = 'g1'",
            "SELECT priority, is_active FROM control.process_group WHERE group_name = 'g1'",
        ),
        (
            "UPDATE cntl_cfg_prcs SET nb_parm = 'a|b', sys_file = '' WHERE prcs_nm = 'load'",
            "SELECT parameters, source_file FROM control.process WHERE process_name = 'load'",
        ),
        (
            "UPDATE cntl_cfg_prcs_depn SET act_f = 0 WHERE dpnd_prcs_nm = 'load'",
            "SELECT is_active, process_name FROM control.process_dependency WHERE depends_on = 'load'",
        ),
        (
            "UPDATE cntl_sys_fle SET overlap = NULL, dlm = ',' WHERE sys_nm = 'orders'",
            "SELECT chunk_overlap, delimiter FROM control.source_file WHERE source_file = 'orders'",
        ),
        (
            "UPDATE cntl_cfg_schedule SET hours = '7,19' WHERE strem_nm = 'merch'",
            "SELECT hour, day_of_week FROM control.schedule WHERE stream_name = 'merch'",
        ),
    ],
)
def test_an_update_reaches_the_table(database_url: str, change: str, check: str) -> None:
    wanted = {
        "strem": (False, True),
        "prcs_grp": (4, True),
        "prcs": ({"nb_parm": "a|b"}, None),
        "prcs_depn": (False, "rank"),
        "fle": (32, ","),
        "schedule": ("7,19", "mon-fri"),
    }
    table = change.split()[1].removeprefix("cntl_cfg_").removeprefix("cntl_sys_")
    execute(database_url, change)
    assert execute(database_url, check) == [wanted[table]]


def test_an_update_of_something_else_leaves_the_parameters_as_they_are(database_url: str) -> None:
    execute(
        database_url,
        "UPDATE control.process SET parameters = '{\"nb_parm\": 3}' WHERE process_name = 'load'; "
        "UPDATE cntl_cfg_prcs SET prir = 2 WHERE prcs_nm = 'load'",
    )
    found = "SELECT parameters FROM control.process WHERE process_name = 'load'"
    assert execute(database_url, found) == [({"nb_parm": 3},)]


def test_a_delete_reaches_the_table(database_url: str) -> None:
    for table in ("schedule", "prcs_depn", "prcs", "sys_file", "prcs_grp", "strem"):
        execute(database_url, f"DELETE FROM cntl_cfg_{table}")
    rows = open_control(database_url).read_rows()
    assert [*rows.streams, *rows.groups, *rows.processes, *rows.source_files, *rows.schedules] == []


@pytest.mark.parametrize(
    ("statement", "error", "words"),
    [
        ("INSERT INTO cntl_cfg_strem (strem_nm) VALUES ('merch')", UniqueViolation, "(merch)"),
        (
            "INSERT INTO cntl_cfg_prcs (prcs_nm, prcs_grp, nb_path_nm) VALUES ('load', 'g1', 'x')",
            UniqueViolation,
            "(load)",
        ),
        (
            "INSERT INTO cntl_cfg_strem (strem_nm, act_f) VALUES ('x', 7)",
            CheckViolation,
            "act_f is 7",
        ),
        (
            "INSERT INTO cntl_cfg_strem (strem_nm, go_live) VALUES ('x', 2)",
            CheckViolation,
            "go_live is 2",
        ),
        (
            "INSERT INTO cntl_cfg_prcs (prcs_nm, prcs_grp) VALUES ('x', 'g1')",
            NotNullViolation,
            "notebook_path",
        ),
        (
            "INSERT INTO cntl_cfg_prcs_depn (prcs_nm, dpnd_prcs_nm) VALUES ('load', 'rank')",
            CheckViolation,
            "load -> rank -> load",
        ),
        (
            "INSERT INTO cntl_cfg_schedule (strem_nm, hours) VALUES ('bare', '25')",
            CheckViolation,
            "schedule_hour_is_cron",
        ),
        ("DELETE FROM cntl_cfg_log", None, ""),
        (
            "INSERT INTO cntl_cfg_log (prcs_nm) VALUES ('x')",
            ObjectNotInPrerequisiteState,
            "for reading",
        ),
    ],
)
def test_what_is_wrong_is_refused_in_words(
    database_url: str, statement: str, error: type[psycopg2.Error] | None, words: str
) -> None:
    if error is None:
        assert execute(database_url, f"{statement} RETURNING 1") == []
        return
    with pytest.raises(error) as caught:
        execute(database_url, statement)
    assert words in str(caught.value)


def test_the_log_tells_how_runs_stand(database_url: str) -> None:
    open_control(database_url).save_snapshot(Snapshot("v1", {"streams": {}}))
    runs = open_runs(database_url)
    for name, status in (("a", "success"), ("b", "failed"), ("c", "crashed"), ("d", None)):
        attempt = runs.open_attempt(
            RunIdentity(name, date(2026, 11, 20), 1),
            stream_name="s",
            dag_run_id="d",
            control_version="v1",
            clear_number=0,
        )
        assert attempt is not None
        if status is not None:
            runs.close_attempt(attempt, Outcome(status, f"was {status}"))  # type: ignore[arg-type]
    runs.mark(RunIdentity("e", date(2026, 11, 20), 1), "queued", "")
    found = execute(
        database_url,
        "SELECT prcs_nm, data_dt, status, message, end_dt IS NULL FROM cntl_cfg_log ORDER BY prcs_nm",
    )
    day = date(2026, 11, 20)
    assert found == [
        ("a", day, 0, "was success", False),
        ("b", day, 99, "was failed", False),
        ("c", day, 99, "was crashed", False),
        ("d", day, 1, "", True),
        ("e", day, 1, "", True),
    ]
