"""Brings a control database to this code's schema, one migration file after the other.

The files of sql/migrations are named `<number>_<name>.sql`; control.schema_version holds those a
database has had.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from millrace.errors import ControlError, ControlUnavailable

SQL_DIR = Path(__file__).parents[3] / "sql"
_LOCK = "SELECT pg_advisory_lock(hashtextextended('millrace.migrations', 0))"
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


@dataclass(frozen=True)
class Migration:
    """One file of sql/migrations."""

    version: int
    name: str
    text: str


def load_migrations(directory: Path = SQL_DIR / "migrations") -> Sequence[Migration]:
    """The migrations in order; ControlError where the numbers are not 1, 2, 3, ..."""
    found = [(m, path) for path in sorted(directory.iterdir()) if (m := _FILE.fullmatch(path.name))]
    migrations = [Migration(int(m[1]), path.name, path.read_text("utf-8")) for m, path in found]
    if [m.version for m in migrations] != list(range(1, len(migrations) + 1)):
        raise ControlError(
            f"Migrations in {directory} are not numbered 1, 2, 3, ...: "
            + ", ".join(m.name for m in migrations),
            cure="Restore the folder from the checkout.",
        )
    return migrations


def apply_roles(superuser_url: str) -> None:
    """Create the roles and shut kernels off from other sessions; needs a superuser.

    To be called with the control database's URL before `migrate`; again, it changes nothing.
    Passwords are the caller's to set.
    """
    with closing(_connect(superuser_url)) as connection, connection.cursor() as cursor:
        cursor.execute((SQL_DIR / "roles.sql").read_text("utf-8"))


def migrate(database_url: str, migrations: Sequence[Migration] | None = None) -> Sequence[str]:
    """Apply what is missing, as the owner role, each file in one transaction; the names applied.

    Callers at the same time take turns. Raises ControlError when the database is newer than
    this code, or when a file fails: what came before it stays.
    """
    known = load_migrations() if migrations is None else migrations
    with closing(_connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(_LOCK)
        current = _current_version(cursor)
        if current > len(known):
            raise ControlError(
                f"The control database is at schema version {current}; "
                f"this Millrace knows versions up to {len(known)}.",
                cure="Run the newer Millrace, or restore a backup made with this one.",
            )
        missing = known[current:]
        for migration in missing:
            _apply(cursor, migration)
    return [m.name for m in missing]


def _connect(url: str) -> Any:
    try:
        connection = psycopg2.connect(url, connect_timeout=10)
    except psycopg2.OperationalError as exc:
        raise ControlUnavailable(
            f"The control database does not answer: {exc}", cure="See `millrace status`."
        ) from exc
    connection.autocommit = True
    return connection


def _current_version(cursor: Any) -> int:
    cursor.execute("SELECT to_regclass('control.schema_version') IS NOT NULL")
    if not cursor.fetchone()[0]:
        return 0
    cursor.execute("SELECT coalesce(max(version), 0) FROM control.schema_version")
    return int(cursor.fetchone()[0])


def _apply(cursor: Any, migration: Migration) -> None:
    try:
        cursor.execute("BEGIN")
        cursor.execute(migration.text)
        cursor.execute(
            "INSERT INTO control.schema_version (version, name) VALUES (%s, %s)",
            (migration.version, migration.name),
        )
        cursor.execute("COMMIT")
    except psycopg2.Error as exc:
        cursor.execute("ROLLBACK")
        raise ControlError(f"Migration {migration.name} failed: {exc}") from exc
