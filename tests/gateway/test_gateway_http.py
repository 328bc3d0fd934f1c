"""The gateway as a process: its health, its limits, its silence about secrets."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from millrace.gateway.http import MAX_BODY_BYTES
from tests.gateway.conftest import (
    KEY,
    RunningGateway,
    environment,
    free_port,
    wait_until_served,
)

SECRET_PROMPT = "the-secret-of-the-prompt-77"


def call(
    gateway: RunningGateway, method: str, path: str, body: Any = None, key: str | None = KEY
) -> tuple[int, str, dict[str, str]]:
    """One request; its status, body and headers (lower case)."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, raw, headers)
    response = connection.getresponse()
    answer = response.read().decode()
    connection.close()
    return response.status, answer, {k.lower(): v for k, v in response.getheaders()}


def test_health_needs_no_key_and_says_what_serves(gateway: RunningGateway) -> None:
    # A first question waits until the model is loaded.
    call(gateway, "POST", "/api/generate", {"model": ""})
    status, body, _ = call(gateway, "GET", "/health", key=None)
    health = json.loads(body)
    assert status == 200
    assert health["status"] == "ok"
    assert health["model"] == "millrace-trial"
    assert health["embed_model"] == "all-minilm"
    assert health["ollama_connected"] is False
    assert health["slots"] == 2
    assert health["models"] == ["millrace-trial", "all-minilm"]
    assert [backend["state"] for backend in health["backends"]] == ["ready"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/api/tags"), ("POST", "/api/chat"), ("GET", "/health/"), ("GET", "/x")],
)
def test_everything_else_needs_the_key(gateway: RunningGateway, method: str, path: str) -> None:
    for key in (None, "", "wrong", f"{KEY}x"):
        status, body, headers = call(gateway, method, path, key=key)
        assert status == 401
        assert headers["www-authenticate"] == "Bearer"
        assert set(json.loads(body)) == {"error"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_root_says_it_runs(gateway: RunningGateway, method: str) -> None:
    status, body, headers = call(gateway, method, "/")
    assert (status, int(headers["content-length"])) == (200, len("Millrace gateway is running"))
    assert body == ("Millrace gateway is running" if method == "GET" else "")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/create", 403),
        ("DELETE", "/api/delete", 403),
        ("POST", "/api/blobs/sha256:00", 403),
        ("GET", "/api/chat", 405),
        ("POST", "/api/tags", 405),
        ("POST", "/v1/chat/completions", 404),
        ("GET", "/etc/passwd", 404),
    ],
)
def test_other_routes_are_refused(
    gateway: RunningGateway, method: str, path: str, status: int
) -> None:
    given, body, _ = call(gateway, method, path)
    assert given == status
    assert json.loads(body)["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"model": 3}',
        b'{"model": "millrace-trial", "messages": "hello"}',
        b'{"model": "millrace-trial", "messages": [{"role": "user", "content": 5}]}',
        b'{"model": "millrace-trial", "messages": [], "options": {"num_predict": "many"}}',
        b'{"model": "millrace-trial", "messages": [], "format": "yaml"}',
        b'{"a":' * 100_000,
    ],
)
def test_a_malformed_request_is_400_in_ollamas_words(gateway: RunningGateway, body: bytes) -> None:
    status, answer, _ = call(gateway, "POST", "/api/chat", body)
    assert status == 400
    assert "Traceback" not in answer
    assert set(json.loads(answer)) == {"error"}


def test_a_body_that_is_too_large_is_413(gateway: RunningGateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.putrequest("POST", "/api/chat")
    connection.putheader("Authorization", f"Bearer {KEY}")
    connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_only_the_loopback_is_bound(gateway: RunningGateway) -> None:
    listening = [
        c.laddr for c in psutil.Process(gateway.pid).net_connections() if c.status == "LISTEN"
    ]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", gateway.port)]


def test_neither_prompts_nor_keys_reach_the_log(gateway: RunningGateway) -> None:
    bodies: list[Any] = [
        {"model": "millrace-trial", "messages": [{"role": "user", "content": SECRET_PROMPT}]},
        {"model": "none", "messages": [{"role": "user", "content": SECRET_PROMPT}]},
        f'{{"model": "{SECRET_PROMPT}'.encode(),
    ]
    for body in bodies:
        call(gateway, "POST", "/api/chat", body)
        call(gateway, "POST", "/api/chat", body, key="a-wrong-key-42")
    log = gateway.log.read_text()
    assert "A request was refused." in log
    for secret in (SECRET_PROMPT, KEY, "a-wrong-key-42"):
        assert secret not in log


def test_sigterm_ends_it_well_and_a_taken_port_is_named(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "millrace.gateway"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment(tmp_path, port), stdout=output, stderr=output
        )
    try:
        wait_until_served(f"http://127.0.0.1:{port}", process, log)
        second = subprocess.run(
            command, env=environment(tmp_path, port), capture_output=True, text=True, timeout=60
        )
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert f"Port {port}" in second.stderr
        assert "MILLRACE_GATEWAY_PORT" in second.stderr
    finally:
        os.kill(process.pid, signal.SIGTERM)
    # It ends by the signal itself, but only after everything is closed.
    assert process.wait(30) in (0, -signal.SIGTERM)
    assert "Application shutdown complete" in log.read_text()


def test_there_is_no_gateway_without_a_key(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "millrace.gateway"],
        env=environment(tmp_path, free_port(), MILLRACE_GATEWAY_KEY=""),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "MILLRACE_GATEWAY_KEY" in ended.stderr
