"""The settings file: generated once, private, kept over the next start."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from millrace.settings import SETTINGS_FILE, Settings
from millrace.stack import credentials


def _load(home: Path, **more: str) -> Settings:
    return Settings.load({"MILLRACE_HOME": str(home), **more})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "a home"


def test_secrets_are_generated_once_into_a_private_file(home: Path) -> None:
    first = credentials.ensure(_load(home))
    path = home / SETTINGS_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(set(first.secrets())) >= 7
    assert _load(home) == first
    before = path.stat().st_mtime_ns
    assert credentials.ensure(_load(home)) == first
    assert path.stat().st_mtime_ns == before


def test_a_new_port_moves_the_urls_and_keeps_the_passwords(home: Path) -> None:
    first = credentials.ensure(_load(home))
    second = credentials.ensure(_load(home, MILLRACE_POSTGRES_PORT="55001"))
    assert ":55001/" in second.database_url
    assert second.vectors_url == second.database_url
    old, new = first.kernel_database_url, second.kernel_database_url
    assert credentials.password_of(old) == credentials.password_of(new)
    assert _load(home).postgres_port == 55001


def test_what_the_last_up_was_given_stays_and_so_do_own_lines(home: Path) -> None:
    home.mkdir()
    own = "# mine\nMILLRACE_NOTIFY_OPS=json://127.0.0.1:9/\n"
    (home / SETTINGS_FILE).write_text(own)
    credentials.ensure(_load(home, MILLRACE_GGUF="/models/m.gguf", MILLRACE_PARALLELISM="3"))
    again = _load(home)
    assert (again.gguf, again.parallelism) == ("/models/m.gguf", 3)
    assert again.notify == {"ops": "json://127.0.0.1:9/"}
    assert (home / SETTINGS_FILE).read_text().startswith(own)
