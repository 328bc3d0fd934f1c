"""The proxy that the outage tests rely on does what it says."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.fault_proxy import FaultProxy


class Echo(socketserver.StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    try:
        with FaultProxy(("127.0.0.1", server.server_address[1]), delay_s=0.01) as running:
            yield running
    finally:
        server.shutdown()
        server.server_close()


def _connected(proxy: FaultProxy) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=0.3))


@pytest.mark.parametrize("mode", ["pass", "slow"])
def test_what_passes_arrives(proxy: FaultProxy, mode: str) -> None:
    proxy.become("pass" if mode == "pass" else "slow")
    with _connected(proxy) as connection:
        connection.settimeout(10)
        connection.sendall(b"hello\n")
        assert connection.recv(100) == b"hello\n"
    assert proxy.swallowed == 0


def test_a_blackhole_takes_everything_and_answers_nothing(proxy: FaultProxy) -> None:
    with _connected(proxy) as connection:
        connection.sendall(b"before\n")
        assert connection.recv(100) == b"before\n"
        proxy.become("blackhole")
        connection.sendall(b"lost\n")
        with pytest.raises(TimeoutError):
            connection.recv(100)
        with _connected(proxy) as another:
            another.sendall(b"lost too\n")
            with pytest.raises(TimeoutError):
                another.recv(100)
        proxy.become("pass")
        assert connection.recv(100) == b"", "what was swallowed is not made good"
    assert proxy.swallowed == 2
    with _connected(proxy) as connection:
        connection.sendall(b"after\n")
        assert connection.recv(100) == b"after\n"
