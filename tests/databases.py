"""Control databases for tests: made fresh on a server, dropped afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql

from millrace.control.migrate import apply_roles, migrate

ROLES = ("millrace", "millrace_kernel", "millrace_author")
PASSWORD = "millrace-test"


@contextmanager
def control_database(superuser_url: str) -> Iterator[str]:
    """A database with everything `millrace up` puts into it; yields its owner's URL."""
    with bare_database(superuser_url) as url:
        migrate(url)
        yield url


@contextmanager
def bare_database(superuser_url: str) -> Iterator[str]:
    """A database with the roles and no schema; yields its owner's URL."""
    name = f"millrace_test_{secrets.token_hex(6)}"
    database = sql.Identifier(name)
    execute(superuser_url, sql.SQL("CREATE DATABASE {}").format(database))
    try:
        _prepare(as_role(superuser_url, name=name))
        yield as_role(superuser_url, "millrace", name=name)
    finally:
        execute(superuser_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


def as_role(url: str, role: str | None = None, *, name: str | None = None) -> str:
    """The same server for another role of ROLES, or another database."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if role is not None:
        netloc = f"{role}:{PASSWORD}@{parts.hostname}:{parts.port}"
    path = f"/{name}" if name else parts.path
    return urlunsplit((parts.scheme, netloc, path, parts.query, parts.fragment))


def execute(
    url: str, statement: str | sql.Composable, values: Sequence[Any] | None = None
) -> list[Any]:
    """Run statements, committed at once; the last one's rows."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def _prepare(superuser_url: str) -> None:
    execute(superuser_url, "CREATE EXTENSION IF NOT EXISTS vector")
    apply_roles(superuser_url)
    # Roles belong to the server, and test runs may share one: they all set the same password.
    with closing(psycopg2.connect(superuser_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('millrace.roles', 0))")
        for role in ROLES:
            change = sql.SQL("ALTER ROLE {} PASSWORD %s").format(sql.Identifier(role))
            cursor.execute(change, (PASSWORD,))
        connection.commit()
