"""Planted secrets are found in the lake, the log and the run log 0 times."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest

from millrace.errors import ContractError, NotebookFailed
from millrace.runner import run_process
from tests.notebooks.workplace import TOKEN, Workplace, row

KEY_BODY = "MIIEowIBAAKCAQEAplantedKeyBody0123456789abcdefghij"
PLANTED = {
    "API key": "sk-planted-A1b2C3d4E5f6G7h8",
    "password": "planted-hunter2x",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ",
    "connection URL": "postgresql://joe:planted-urlpass@db:5432/shop",
    "private key": KEY_BODY,
}
TRACES = (
    *("planted-A1b2", "planted-hunter2x", "c2lnbmF0dXJl", "planted-urlpass", KEY_BODY, TOKEN),
    *("planted-owner", "planted-gateway", "planted-kernel"),
)

PROGRAM = f"""
import os, sys
api_key = "{PLANTED["API key"]}"
password = "{PLANTED["password"]}"
jwt = "{PLANTED["JWT"]}"
url = "{PLANTED["connection URL"]}"
key = '''-----BEGIN PRIVATE KEY-----
{KEY_BODY}
{KEY_BODY}
-----END PRIVATE KEY-----'''
everything = [api_key, password, jwt, url, key]
"""
PRINTED = """
import base64
print(everything); print(*everything, sep='\\n'); print(*everything, sep='\\n', file=sys.stderr)
for secret in everything:
    half = len(secret) // 2
    sys.stdout.write(secret[:half]); sys.stdout.flush(); sys.stdout.write(secret[half:] + '\\n')
print(dict(os.environ))
print(base64.b64encode(('Authorization:' + password).encode()).decode())
from IPython.display import HTML, JSON, display
display(HTML(f'<b title="{password}">{url}</b>'))
display(JSON({'deep': everything, 'password': 'x-planted-owner'}))
everything
"""
RAISED = """
def connect(address):
    raise ConnectionError(f'cannot reach {address} with {everything} and {dict(os.environ)}')
connect(url)
"""


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_in_source_environment_output_and_traceback(
    place: Workplace, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    place.write("step.ipynb", PROGRAM, PRINTED, RAISED)
    settings = place.settings(
        MILLRACE_DATABASE_URL="postgresql://millrace:planted-owner@db/millrace",
        MILLRACE_KERNEL_DATABASE_URL="postgresql://kernel:planted-kernel@db/millrace",
        MILLRACE_GATEWAY_KEY="planted-gateway-key",
    )

    with (
        caplog.at_level(logging.DEBUG, logger="millrace"),
        pytest.raises(NotebookFailed) as told,
    ):
        run_process(place.order(), place.wiring(row(), settings=settings))

    printed = "".join(capfd.readouterr())
    places = {
        "lake": place.lake_text(),
        "log": caplog.text + printed,
        "run log": place.outcome.message + str(told.value),
    }
    encoded = base64.b64encode(b"Authorization:planted-hunter2x").decode()
    found = [(where, t) for where, text in places.items() for t in (*TRACES, encoded) if t in text]
    assert found == []
    assert "cannot reach" in places["run log"]
    assert places["lake"].count("[redacted]") > 20
    assert places["log"].count("[redacted]") > 10


@pytest.mark.parametrize("kind", sorted(PLANTED))
def test_in_parameters_they_are_refused(
    place: Workplace, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    value = PLANTED[kind]
    if kind == "private key":
        value = f"-----BEGIN PRIVATE KEY-----\n{value}\n-----END PRIVATE KEY-----"
    name = "password" if kind == "password" else "anything"
    place.write("step.ipynb", f"print({name})", parameters=f"{name}: str = ''")

    with (
        caplog.at_level(logging.DEBUG, logger="millrace"),
        pytest.raises(ContractError, match="secrets are never parameters"),
    ):
        run_process(place.order(), place.wiring(row(parameters={name: value})))

    said = caplog.text + place.outcome.message + place.lake_text()
    assert not [trace for trace in TRACES if trace in said]
