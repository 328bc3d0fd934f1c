"""Fixtures that several rooms need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.settings import Settings
from millrace.stack import part, postgres
from millrace.stack.ports import free_ports
from tests.databases import control_database
from tests.stack_fixture import TestStack, running_stack


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a superuser of a real, empty Postgres 18 with pgvector.

    MILLRACE_TEST_POSTGRES names one to use instead of starting our own.
    """
    if given := os.environ.get("MILLRACE_TEST_POSTGRES"):
        yield given
        return
    settings = _settings(tmp_path_factory.mktemp("postgres"))
    postgres.prepare(settings)
    server = postgres.part(settings)
    try:
        part.start(server)
        part.wait_healthy(server)
        yield postgres.superuser_url(settings)
    finally:
        part.stop(server)


@pytest.fixture(scope="module")
def database_url(postgres_server: str) -> Iterator[str]:
    """URL of the owner of a fresh control database, with roles, schema and compatibility views."""
    with control_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestStack]:
    """The full embedded stack, in a home of its own and on free ports; its logs stay there."""
    with running_stack(tmp_path_factory.mktemp("a stack")) as running:
        yield running


def _settings(home: Path) -> Settings:
    return Settings.load(
        {"MILLRACE_HOME": str(home), "MILLRACE_POSTGRES_PORT": str(free_ports(1)[0])}
    )
