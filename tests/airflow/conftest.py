"""One stack for all tests here: its notebooks are the tests' own, its notifications come to them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from millrace.stack import embedded
from tests.house import House, house_settings


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
    """A running stack without JupyterLab, in a folder whose name has a space."""
    home = tmp_path_factory.mktemp("a house")
    settings = house_settings(home, MILLRACE_NOTIFY_OPS=inbox_server[0])
    try:
        ready = embedded.up(settings, lab=False)
        yield House(ready, ready.notebooks_dir)
    finally:
        embedded.down(settings)
