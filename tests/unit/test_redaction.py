"""Secrets go, prose stays, and neither takes long."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from millrace.redaction import REDACTED, Redactor, is_secret_name, looks_secret
from tests.planted import SECRETS

PASSWORD = "pa/ss w0rd+&x"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx1y2z3PLANTED\nq8r7s6PLANTED\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ"


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        quote(PASSWORD, safe=""),
        json.dumps({"a": f'{PASSWORD}"'}),
        f"Authorization: Basic {base64.b64encode(f'joe:{PASSWORD}'.encode()).decode()}",
        base64.b64encode(f"x{PASSWORD}".encode()).decode(),
        base64.urlsafe_b64encode(f"xy{PASSWORD}".encode()).decode(),
        f"postgresql://joe:{quote(PASSWORD, safe='')}@db/shop",
    ],
)
def test_a_known_secret_goes_in_every_spelling(text: str) -> None:
    redacted = Redactor([PASSWORD]).text(text)

    assert REDACTED in redacted
    for spelling in (PASSWORD, quote(PASSWORD, safe=""), base64.b64encode(PASSWORD.encode())[4:-4]):
        assert str(spelling) not in redacted


def test_the_password_of_a_known_url_is_known_too() -> None:
    assert Redactor(["postgresql://joe:wint3rmute@db/shop"]).text("got wint3rmute") == (
        f"got {REDACTED}"
    )


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("sk-proj-a1b2c3d4e5f6g7h8i9j0", "a1b2c3d4"),
        ("ghp_" + "a1B2" * 9, "a1B2"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
        ("xoxb-123456789012-abcdefghij", "123456789012"),
        ("AIza" + "Sy0" * 12, "Sy0Sy0"),
        (f"got {JWT} back", "c2lnbmF0dXJl"),
        ("Authorization: Bearer abc123def456ghi789", "abc123def456"),
        ("mysql://joe:hunter2x@db:3306/shop", "hunter2x"),
        ("redis://:hunter2x@cache", "hunter2x"),
        ("password = 'hunter2x'", "hunter2x"),
        ('"api_key": "abcdefgh"', "abcdefgh"),
        ("DB_PASSWORD=hunter2x!", "hunter2x"),
        ("secret: str = 'a-b-c-d'", "a-b-c-d"),
        ('password\x1b[38;5;241m=\x1b[39m\x1b[33m"hunter2x"\x1b[39m', "hunter2x"),
        (KEY, "PLANTED"),
        (json.dumps(KEY), "PLANTED"),
        (KEY.removesuffix("-----END RSA PRIVATE KEY-----"), "PLANTED"),
    ],
)
def test_the_shapes_of_secrets_go(text: str, secret: str) -> None:
    redacted = Redactor().text(text)

    assert secret not in redacted
    assert REDACTED in redacted


@pytest.mark.parametrize(
    "text",
    [
        "The token: something the model reads. Tokens: 1200, max_tokens=2048.",
        "password: required for login",
        "risk-assessment-2024-report-final and task-list-2025-for-everyone",
        "see https://example.org:8080/users/a@b and mail joe@example.org",
        "Bearer of good news and responsibilities",
        "token = tokenizer.next(); password = getpass()",
        "if token == other: return secret_sauce(key=value)",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12 on 2026-11-20 10:00:00",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert Redactor(["unrelated-secret"]).text(text) == text


def test_a_notebook_is_redacted_in_every_place() -> None:
    secret = "planted-s3cret"
    notebook = {
        "cells": [
            {
                "source": f"print('{secret}')",
                "metadata": {"papermill": {"x": [secret]}},
                "outputs": [
                    {"text": secret, "data": {"image/png": "iVBORw0KGgo="}},
                    {"traceback": [f"\x1b[31mE\x1b[0m {secret}"], "evalue": secret},
                ],
            }
        ],
        "metadata": {secret: 1, "parameters": {"db_password": "short"}},
    }

    redacted = Redactor([secret]).document(notebook)

    text = json.dumps(redacted)
    assert secret not in text
    assert "short" not in text
    assert redacted["cells"][0]["outputs"][0]["data"] == {"image/png": "iVBORw0KGgo="}


def test_a_program_gives_its_secrets_away_once() -> None:
    redactor = Redactor()
    redactor.learn_from(f"password = 'hunter2x'\nkey = '''{KEY}'''\n")

    assert redactor.text("1: hunter2x 2: q8r7s6PLANTED") == f"1: {REDACTED} 2: q8r7s6PLANTED"
    assert "MIIEow" not in redactor.text("line MIIEowIBAAKCAQEAx1y2z3PLANTED of it")


def test_a_secret_split_over_two_writes_is_found() -> None:
    lines = Redactor(["planted-s3cret"]).lines()

    first, second = list(lines.feed("got planted-")), list(lines.feed("s3cret\nnext"))

    assert (first, second, list(lines.flush())) == ([], [f"got {REDACTED}"], ["next"])


def test_a_key_over_many_lines_is_withheld() -> None:
    lines = Redactor().lines()

    shown = [line for piece in (f"a\n{KEY[:50]}", f"{KEY[50:]}\nb\n") for line in lines.feed(piece)]

    assert shown == ["a", REDACTED, "b"]


def test_progress_bars_come_line_by_line() -> None:
    lines = Redactor().lines()

    assert list(lines.feed("10%\r20%\r")) == ["10%"]
    assert list(lines.feed("\nx\r\ny\n")) == ["20%", "x", "y"]


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        *(
            (n, True)
            for n in ("password", "db_password", "apiKey", "API_KEY", "token", "auth_token")
        ),
        *((n, False) for n in ("max_tokens", "stop_token", "key", "top_k", "keyboard", "tokens")),
    ],
)
def test_names_made_for_secrets(name: str, is_secret: bool) -> None:
    assert is_secret_name(name) is is_secret
    assert looks_secret(name, "a value") is is_secret


def test_a_secret_deep_in_a_parameter_is_seen() -> None:
    assert looks_secret("options", {"hosts": ["postgres://joe:hunter2x@db"]})
    assert not looks_secret("options", {"hosts": ["db"], "top_k": 5})


@pytest.mark.parametrize(
    "piece",
    ["a", "-----BEGIN PRIVATE KEY-----", "token: x ", "a://", "eyJ", "bearer ", "x password=\t"],
)
@pytest.mark.timeout(30)
def test_hostile_output_is_done_with(piece: str) -> None:
    redactor = Redactor(["planted-s3cret"])

    # About 2 s; with a pattern whose cost grows with the square it takes minutes.
    assert redactor.text(piece * (5_000_000 // len(piece)) + " planted-s3cret").endswith(REDACTED)


@pytest.mark.parametrize("kind", ["API key", "JWT"])
def test_a_secret_spelt_out_under_any_name_is_known_in_base64_too(kind: str) -> None:
    redactor = Redactor()
    redactor.learn_from(f"credentials_of = {{'the shop': {SECRETS[kind]!r}}}")
    for before in ("", "x", "xy"):
        encoded = base64.b64encode(f"{before}{SECRETS[kind]} and more".encode()).decode()
        assert REDACTED in redactor.text(encoded)
