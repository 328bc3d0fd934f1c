"""Schema control refuses what it can, keeps account of changes, and says what everything is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.errors import CheckViolation, ForeignKeyViolation, UniqueViolation

from tests.databases import execute

TABLES = "stream, process_group, process, process_dependency, source_file, schedule"


@pytest.fixture(autouse=True)
def rows(database_url: str) -> Iterator[None]:
    """One stream `s` with group `g` and processes `a`, `b`, `c`."""
    execute(
        database_url,
        """
        INSERT INTO control.stream (stream_name) VALUES ('s');
        INSERT INTO control.process_group (group_name, stream_name) VALUES ('g', 's');
        INSERT INTO control.process (process_name, group_name, notebook_path)
        SELECT name, 'g', 'x.ipynb' FROM unnest('{a,b,c}'::text[]) AS name;
        """,
    )
    yield
    tables = ", ".join(f"control.{table}" for table in TABLES.split(", "))
    execute(database_url, f"TRUNCATE {tables}")
    execute(database_url, "TRUNCATE control.change_log")


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("stream SET stream_name = 'with space'", "name_pattern"),
        ("stream SET stream_name = '..'", "name_pattern"),
        ("stream SET stream_name = repeat('x', 201)", "name_pattern"),
        ("stream SET stream_name = E'two\\n'", "name_pattern"),
        ("stream SET stream_name = ''", "name_pattern"),
        ("stream SET time_zone = 'Mars/Olympus'", "stream_time_zone_known"),
        ("stream SET time_zone = 'FOO+3'", "stream_time_zone_known"),
        ("stream SET parameters = '[1]'", "stream_parameters_object"),
        ("stream SET max_active_runs = 0", "stream_max_active_runs_positive"),
        ("stream SET data_date = 'infinity'", "stream_data_date_finite"),
        ("process_group SET priority = -1", "process_group_priority_not_negative"),
        ("process_group SET on_failure = 'panic'", "process_group_on_failure_known"),
        ("process SET priority = -1", "process_priority_not_negative"),
        ("process SET retries = -1", "process_retries_not_negative"),
        ("process SET timeout_s = 0", "process_timeout_positive"),
        ("process SET memory_limit_mb = 0", "process_memory_limit_positive"),
        ("process SET llm_priority = 'now'", "process_llm_priority_known"),
        ("process SET parameters = '3'", "process_parameters_object"),
        ("process SET notebook_path = ''", "process_notebook_path_given"),
    ],
)
def test_a_bad_value_is_refused_by_name(database_url: str, change: str, constraint: str) -> None:
    with pytest.raises(CheckViolation) as caught:
        execute(database_url, f"UPDATE control.{change}")
    assert caught.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("insert", "constraint"),
    [
        ("source_file (source_file, file_type) VALUES ('f', 'exe')", "source_file_type_known"),
        (
            "source_file (source_file, file_type, chunk_overlap) VALUES ('f', 'csv', 256)",
            "source_file_overlap_fits",
        ),
        ("process_dependency VALUES ('a', 'a')", "process_dependency_not_itself"),
    ],
)
def test_a_bad_row_is_refused_by_name(database_url: str, insert: str, constraint: str) -> None:
    with pytest.raises(CheckViolation) as caught:
        execute(database_url, f"INSERT INTO control.{insert}")
    assert caught.value.diag.constraint_name == constraint


GOOD_CRON = {
    "minute": ["*", "0", "59", "*/5", "0-30/10", "1,2,50-59", "22-2", "5/10"],
    "hour": ["*", "23", "6-18/2", "22-2"],
    "day_of_month": ["*", "1", "31", "1-15", "*/2"],
    "month": ["*", "1", "12", "jan", "JAN,mar-may", "nov-feb"],
    "day_of_week": ["*", "0", "7", "mon-fri", "Mon,Wed", "fri-mon", "0-6", "sat-sun"],
}
BAD_CRON = {
    "minute": ["60", "", "1,", "*/0", "a", "1-", "* *", "0-0", "-1", "jan", "@daily"],
    "hour": ["24", "6 ", "12:00"],
    "day_of_month": ["0", "32", "L", "?"],
    "month": ["0", "13", "foo", "mon"],
    "day_of_week": ["8", "jan", "mon#2"],
}


@pytest.mark.parametrize(("field", "text"), [(f, t) for f, ts in GOOD_CRON.items() for t in ts])
def test_cron_fields_that_are_taken(database_url: str, field: str, text: str) -> None:
    insert = f"INSERT INTO control.schedule (stream_name, {field}) VALUES ('s', %s) RETURNING 1"
    assert execute(database_url, insert, [text]) == [(1,)]


@pytest.mark.parametrize(("field", "text"), [(f, t) for f, ts in BAD_CRON.items() for t in ts])
def test_cron_fields_that_are_refused(database_url: str, field: str, text: str) -> None:
    with pytest.raises(CheckViolation, match=f"schedule_{field}_is_cron"):
        execute(
            database_url,
            f"INSERT INTO control.schedule (stream_name, {field}) VALUES ('s', %s)",
            [text],
        )


def test_a_circle_is_refused_at_commit_and_named(database_url: str) -> None:
    with pytest.raises(CheckViolation, match="a -> b -> c -> a"):
        execute(
            database_url,
            "INSERT INTO control.process_dependency VALUES ('a','b'), ('b','c'), ('c','a')",
        )
    assert execute(database_url, "SELECT * FROM control.process_dependency") == []


def test_an_inactive_dependency_closes_no_circle_until_it_is_active(database_url: str) -> None:
    execute(
        database_url,
        "INSERT INTO control.process_dependency VALUES ('a','b',true), ('b','a',false)",
    )
    with pytest.raises(CheckViolation, match="b -> a -> b"):
        execute(
            database_url,
            "UPDATE control.process_dependency SET is_active = true WHERE process_name = 'b'",
        )


def test_a_circle_that_is_opened_before_the_commit_is_none(database_url: str) -> None:
    execute(
        database_url,
        """
        INSERT INTO control.process_dependency VALUES ('a','b'), ('b','a');
        DELETE FROM control.process_dependency WHERE process_name = 'b';
        """,
    )
    found = execute(database_url, "SELECT process_name, depends_on FROM control.process_dependency")
    assert found == [("a", "b")]


def test_two_transactions_cannot_each_commit_half_a_circle(database_url: str) -> None:
    refused: list[Exception] = []

    def insert(connection: psycopg2.extensions.connection, barrier: threading.Barrier) -> None:
        barrier.wait(30)
        try:
            connection.commit()
        except CheckViolation as exc:
            refused.append(exc)

    with (
        closing(psycopg2.connect(database_url)) as one,
        closing(psycopg2.connect(database_url)) as two,
    ):
        one.cursor().execute("INSERT INTO control.process_dependency VALUES ('a','b')")
        two.cursor().execute("INSERT INTO control.process_dependency VALUES ('b','a')")
        barrier = threading.Barrier(2)
        threads = [threading.Thread(target=insert, args=(c, barrier)) for c in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(refused) == 1


def test_a_script_may_insert_in_any_order_within_one_transaction(database_url: str) -> None:
    execute(
        database_url,
        """
        INSERT INTO control.process (process_name, group_name, notebook_path, source_file)
        VALUES ('early', 'later', 'x.ipynb', 'last');
        INSERT INTO control.process_group (group_name, stream_name) VALUES ('later', 'latest');
        INSERT INTO control.stream (stream_name) VALUES ('latest');
        INSERT INTO control.source_file (source_file, file_type) VALUES ('last', 'csv');
        """,
    )
    with pytest.raises(ForeignKeyViolation, match="process_group_exists"):
        execute(
            database_url,
            "INSERT INTO control.process (process_name, group_name, notebook_path) "
            "VALUES ('lost', 'nowhere', 'x.ipynb')",
        )


def test_a_name_that_is_taken_is_refused_naming_it(database_url: str) -> None:
    with pytest.raises(UniqueViolation, match=r"\(s\)"):
        execute(database_url, "INSERT INTO control.stream (stream_name) VALUES ('s')")


def test_a_rename_takes_everything_along(database_url: str) -> None:
    execute(database_url, "INSERT INTO control.process_dependency VALUES ('a','b')")
    execute(database_url, "UPDATE control.process SET process_name = 'z' WHERE process_name = 'b'")
    found = execute(database_url, "SELECT depends_on FROM control.process_dependency")
    assert found == [("z",)]


def test_updated_at_follows_a_change_unless_it_is_given(database_url: str) -> None:
    execute(
        database_url, "UPDATE control.stream SET question = 'q', updated_at = '2020-01-02 03:04+00'"
    )
    year = "SELECT extract(year FROM updated_at)::int FROM control.stream"
    assert execute(database_url, year) == [(2020,)]
    execute(database_url, "UPDATE control.stream SET question = 'again'")
    assert execute(database_url, year) != [(2020,)]


def test_the_change_log_tells_who_changed_what(database_url: str) -> None:
    execute(database_url, "UPDATE control.process SET priority = 7 WHERE process_name = 'a'")
    execute(database_url, "DELETE FROM control.process WHERE process_name = 'b'")
    found = execute(
        database_url,
        """
        SELECT changed_by, operation, row_key, (before ->> 'priority')::int,
            (after ->> 'priority')::int
        FROM control.change_log WHERE table_name = 'process' AND operation <> 'insert'
        ORDER BY change_id
        """,
    )
    assert found == [
        ("millrace", "update", {"process_name": "a"}, 0, 7),
        ("millrace", "delete", {"process_name": "b"}, 0, None),
    ]
    execute(database_url, "TRUNCATE control.process_dependency")
    last = "SELECT table_name, operation FROM control.change_log ORDER BY change_id DESC LIMIT 1"
    assert execute(database_url, last) == [("process_dependency", "truncate")]


def test_every_table_column_and_function_is_described(database_url: str) -> None:
    silent = execute(
        database_url,
        """
        SELECT c.oid::regclass || coalesce('.' || a.attname, '')
        FROM pg_class AS c
        LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace::regnamespace::text IN ('control', 'cntl_af') AND c.relkind IN ('r', 'v')
            AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL)
        UNION ALL
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace::regnamespace::text = 'control' AND obj_description(oid, 'pg_proc') IS NULL
        """,
    )
    assert silent == []
