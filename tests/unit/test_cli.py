"""The millrace command: one-line errors, exit codes, plain lines and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millrace.cli import cli, console, faults, main, running, stores
from millrace.cli.faults import Finding
from millrace.control.base import ControlStore
from millrace.errors import UnknownName
from millrace.model import ControlRows
from millrace.settings import Settings

ROWS = ControlRows(
    streams=[{"stream_name": "shop"}],
    groups=[
        {"group_name": "late", "stream_name": "shop", "priority": 2},
        {"group_name": "early", "stream_name": "shop", "priority": 1},
        {"group_name": "other", "stream_name": "elsewhere", "priority": 1},
    ],
    processes=[
        {"process_name": "b", "group_name": "late", "priority": 0},
        {"process_name": "z", "group_name": "early", "priority": 0},
        {"process_name": "a", "group_name": "early", "priority": 1},
        {"process_name": "x", "group_name": "other", "priority": 0},
    ],
    dependencies=[],
    source_files=[],
    schedules=[],
)


class Rows:
    """A control store that has ROWS."""

    def read_rows(self, *, deadline_s: float = 2.0) -> ControlRows:
        return ROWS


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATABASE_URL", "AIRFLOW_URL"):
        monkeypatch.delenv(f"MILLRACE_{name}", raising=False)
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    return tmp_path


def _main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", ["streams", "runs", "check"])
def test_before_the_first_up_every_command_says_so_in_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(command) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["millrace: There is no control database yet. Run `millrace up`."]


def test_a_malformed_setting_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_GATEWAY_PORT", "high")
    assert _main("status") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("millrace: ")
    assert "MILLRACE_GATEWAY_PORT" in line


def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main("run", "shop", "--data-date", "yesterday") == 2
    assert "--data-date" in capsys.readouterr().err
    assert _main("fly") == 2


def test_nothing_runs_and_status_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main("status", "--json") == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert {part["state"] for part in told["parts"]} == {"stopped"}


def test_looking_changes_nothing_on_disk(home: Path) -> None:
    _main("status")
    assert list(home.iterdir()) == []


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.commands:
        assert _main(name, "--help") == 0
        assert len(capsys.readouterr().out.splitlines()) > 3


def test_an_unknown_stream_is_named_with_those_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(settings: Settings) -> ControlStore:
        return Rows()  # type: ignore[return-value]

    monkeypatch.setattr(stores, "control", rows)
    assert _main("run", "shpo") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "'shpo'" in line
    assert "There are: shop." in line


def test_processes_are_listed_in_the_order_in_which_they_run() -> None:
    assert stores.processes_of(ROWS, "shop") == ["z", "a", "b"]
    with pytest.raises(UnknownName, match="nowhere"):
        stores.require_stream(ROWS, "nowhere")


def test_check_prints_findings_and_ends_with_1_unless_they_are_notes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding("note", "", "", "stream idle has no active process", "")]
    monkeypatch.setattr(faults, "find", lambda settings: found)
    assert _main("check") == 0
    found.append(Finding("row", "shop", "process a", "retries is -1.", "It must be >= 0."))
    assert _main("check", "--json") == 1
    told = json.loads(capsys.readouterr().out.partition("\n[")[2].join(["[", ""]))
    assert [finding["where"] for finding in told] == ["", "process a"]


def test_a_pipe_gets_plain_lines_with_one_line_per_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{"name": "a", "message": "two\nlines", "count": None}]
    console.show("T", rows, as_json=False, nothing="none")
    assert capsys.readouterr().out == "name\tmessage\tcount\na\ttwo lines\t\n"
    console.show("T", [], as_json=False, nothing="none")
    assert capsys.readouterr().out == "none\n"
    console.show("T", [], as_json=True, nothing="none")
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")],
)
def test_durations_are_words(seconds: float | None, text: str) -> None:
    assert console.duration(seconds) == text


def test_dsn_names_the_cure(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main("dsn") == 1
    assert "millrace up" in capsys.readouterr().err


def test_run_is_the_only_command_of_its_module() -> None:
    assert [command.name for command in running.commands] == ["run"]
