"""Fixtures that several rooms need."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from millrace.settings import Settings
from millrace.stack import embedded, part, postgres
from millrace.stack.ports import free_ports
from tests.databases import control_database
from tests.house import Group, House, house_settings
from tests.planted import ENVIRONMENT


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
def inbox_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook target: its Apprise URL and the messages it got."""
    messages: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://127.0.0.1:{server.server_port}/", messages
    server.shutdown()
    server.server_close()


@pytest.fixture
def inbox(inbox_server: tuple[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The messages that reached the target OPS."""
    return inbox_server[1]


@pytest.fixture(scope="session")
def house(
    tmp_path_factory: pytest.TempPathFactory, inbox_server: tuple[str, list[dict[str, Any]]]
) -> Iterator[House]:
    """A whole running stack for every test that leaves it running, in a folder with a space.

    Whoever started it had secrets in the environment.
    """
    home = tmp_path_factory.mktemp("a house")
    settings = house_settings(home, MILLRACE_NOTIFY_OPS=inbox_server[0])
    shutil.copytree(Path(__file__).parents[1] / "notebooks", settings.notebooks_dir)
    try:
        with pytest.MonkeyPatch.context() as shell:
            for name, value in ENVIRONMENT.items():
                shell.setenv(name, value)
            ready = embedded.up(settings)
        made = House(ready, ready.notebooks_dir)
        # Tables that read empty are taken for a mistake: somebody lives here all the time.
        resident = {"resident.g": Group({"resident.p": 0})}
        made.stream("resident", resident, notebook="templates/hello.ipynb")
        yield made
    finally:
        embedded.down(settings)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares the stack comes last, in one go: it is up for no longer than that.

    The tutorial's reader begins with an empty stack: those tests come first.
    """
    items.sort(key=lambda item: (_shares_the_stack(item), "docs" not in item.path.parts))


def _shares_the_stack(item: pytest.Item) -> bool:
    has_its_own = hasattr(getattr(item, "module", None), "house")
    return "house" in getattr(item, "fixturenames", ()) and not has_its_own


def _settings(home: Path) -> Settings:
    return Settings.load(
        {"MILLRACE_HOME": str(home), "MILLRACE_POSTGRES_PORT": str(free_ports(1)[0])}
    )
