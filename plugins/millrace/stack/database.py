"""What is inside the embedded Postgres: roles, the two databases, extension and control schema."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
from psycopg2 import sql

from millrace.control.migrate import apply_roles, migrate
from millrace.settings import Settings
from millrace.stack import postgres
from millrace.stack.credentials import ROLES, password_of
from millrace.vectors import open_collections

OWNERS = ("database_url", "airflow_database_url")
"""Settings whose role owns its database."""


def prepare(settings: Settings) -> None:
    """Make roles and databases that are missing, set the roles' passwords, migrate the schema."""
    with closing(_connect(postgres.superuser_url(settings))) as connection:
        for setting, (role, _) in ROLES.items():
            _ensure_role(connection.cursor(), role, password_of(getattr(settings, setting)))
        for setting in OWNERS:
            role, database = ROLES[setting]
            _ensure_database(connection.cursor(), database, role)
    with closing(_connect(postgres.superuser_url(settings, "millrace"))) as connection:
        # Only a superuser may; everything else belongs to the owner role.
        connection.cursor().execute("CREATE EXTENSION IF NOT EXISTS vector")
    apply_roles(postgres.superuser_url(settings, "millrace"))
    _migrate(settings)


def _migrate(settings: Settings) -> None:
    migrate(settings.database_url)
    open_collections(settings.database_url).prepare()


def _connect(url: str) -> Any:
    connection = psycopg2.connect(url, connect_timeout=10)
    connection.autocommit = True
    return connection


def _ensure_role(cursor: Any, role: str, password: str) -> None:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
    if cursor.fetchone() is None:
        cursor.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    cursor.execute(
        sql.SQL("ALTER ROLE {} LOGIN PASSWORD %s").format(sql.Identifier(role)), [password]
    )


def _ensure_database(cursor: Any, database: str, owner: str) -> None:
    names = {"database": sql.Identifier(database), "owner": sql.Identifier(owner)}
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
    if cursor.fetchone() is None:
        cursor.execute(sql.SQL("CREATE DATABASE {database} OWNER {owner}").format(**names))
        cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names))
