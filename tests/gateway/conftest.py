"""A gateway in a process of its own, on a free port, with the trial model only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

KEY = "test-key-3f9c1b7a"
SERVED_WITHIN_S = 60


@dataclass(frozen=True)
class RunningGateway:
    """Where it is, and what it wrote."""

    url: str
    port: int
    pid: int
    log: Path
    key: str = KEY

    @property
    def headers(self) -> dict[str, str]:
        """What a caller sends to be let in."""
        return {"authorization": f"Bearer {self.key}"}


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(home: Path, port: int, **more: str) -> dict[str, str]:
    """The environment of a gateway that sees nothing of this machine's own settings."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH") if key in os.environ}
    plugins = str(Path(__file__).parents[2] / "plugins")
    return {
        **kept,
        "PYTHONPATH": plugins,
        "MILLRACE_HOME": str(home),
        "MILLRACE_GATEWAY_PORT": str(port),
        "MILLRACE_GATEWAY_KEY": KEY,
        "MILLRACE_OLLAMA_HOST": "off",
        **more,
    }


def wait_until_served(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Poll /health until it answers."""
    deadline = time.monotonic() + SERVED_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the gateway ended:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise RuntimeError(f"the gateway does not answer:\n{log.read_text()}")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for the session."""
    home = tmp_path_factory.mktemp("gateway")
    port, log = free_port(), home / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "millrace.gateway"],
            env=environment(home, port, MILLRACE_LOG_LEVEL="DEBUG"),
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_served(url, process, log)
        yield RunningGateway(url, port, process.pid, log)
    finally:
        process.terminate()
        process.wait(30)
