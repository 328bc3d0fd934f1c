"""The migrations add up to sql/schema.sql and sql/cntl_af.sql, and are applied once, in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from millrace.control.migrate import SQL_DIR, Migration, load_migrations, migrate
from millrace.errors import ControlError, ControlUnavailable
from tests.databases import bare_database, execute

CATALOG = {
    "relations": """
        SELECT c.oid::regclass::text, c.relkind::text, c.relacl::text, obj_description(c.oid, 'pg_class'),
            CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END
        FROM pg_class AS c WHERE c.relnamespace IN {schemas}""",
    "columns": """
        SELECT c.oid::regclass::text, a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod),
            a.attnotnull, a.attidentity::text, pg_get_expr(d.adbin, d.adrelid),
            col_description(c.oid, a.attnum)
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace IN {schemas} AND NOT a.attisdropped""",
    "constraints": """
        SELECT conname::text, conrelid::regclass::text, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace IN {schemas}""",
    "indexes": """
        SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
        WHERE c.relnamespace IN {schemas}""",
    "functions": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid), proacl::text, obj_description(oid, 'pg_proc')
        FROM pg_proc WHERE pronamespace IN {schemas}""",
    "triggers": """
        SELECT pg_get_triggerdef(t.oid) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE c.relnamespace IN {schemas} AND NOT t.tgisinternal""",
    "schemas": """
        SELECT nspname::text, nspacl::text, obj_description(oid, 'pg_namespace')
        FROM pg_namespace WHERE oid IN {schemas}""",
}
SCHEMAS = "(SELECT oid FROM pg_namespace WHERE nspname IN ('control', 'cntl_af'))"


@pytest.fixture
def bare_url(postgres_server: str) -> Iterator[str]:
    """The owner's URL of a database without a schema."""
    with bare_database(postgres_server) as url:
        yield url


def catalog(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Everything the two schemas are made of."""
    return {
        kind: sorted(execute(url, query.format(schemas=SCHEMAS)), key=repr)
        for kind, query in CATALOG.items()
    }


def test_migrations_add_up_to_the_schema(postgres_server: str, bare_url: str) -> None:
    applied = migrate(bare_url)
    assert applied == [m.name for m in load_migrations()]
    with bare_database(postgres_server) as written_out:
        for name in ("schema.sql", "cntl_af.sql"):
            execute(written_out, (SQL_DIR / name).read_text())
        wanted = catalog(written_out)
    found = catalog(bare_url)
    assert len(wanted["relations"]) > 40
    for kind, objects in wanted.items():
        assert found[kind] == objects, kind


def test_a_second_time_changes_nothing(bare_url: str) -> None:
    migrate(bare_url)
    before = catalog(bare_url)
    assert migrate(bare_url) == []
    assert catalog(bare_url) == before


def test_two_at_a_time_take_turns(bare_url: str) -> None:
    applied: list[str] = []
    threads = [threading.Thread(target=lambda: applied.extend(migrate(bare_url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [m.name for m in load_migrations()]


def test_a_newer_database_is_refused_in_words(bare_url: str) -> None:
    migrate(bare_url)
    execute(bare_url, "INSERT INTO control.schema_version (version, name) VALUES (9000, 'future')")
    with pytest.raises(ControlError, match="schema version 9000") as caught:
        migrate(bare_url)
    assert "newer Millrace" in str(caught.value)


def test_a_migration_that_fails_leaves_nothing_of_itself(bare_url: str) -> None:
    known = list(load_migrations())
    broken = Migration(len(known) + 1, "broken.sql", "CREATE TABLE control.half (); SELECT 1/0;")
    with pytest.raises(ControlError, match=r"broken\.sql failed.*division by zero"):
        migrate(bare_url, [*known, broken])
    assert execute(bare_url, "SELECT to_regclass('control.half')") == [(None,)]
    assert execute(bare_url, "SELECT max(version) FROM control.schema_version") == [(len(known),)]


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    for name in ("0001_one.sql", "0003_three.sql"):
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ControlError, match="0003_three"):
        load_migrations(tmp_path)


def test_no_server_is_said_so() -> None:
    with pytest.raises(ControlUnavailable, match="does not answer"):
        migrate("postgresql://millrace@127.0.0.1:1/millrace")


def test_the_lock_is_free_again_after_a_failure(bare_url: str) -> None:
    with pytest.raises(ControlError):
        migrate(bare_url, [Migration(1, "broken.sql", "SELECT 1/0;")])
    with psycopg2.connect(bare_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended('millrace.migrations', 0))")
        assert cursor.fetchone() == (True,)
    connection.close()
