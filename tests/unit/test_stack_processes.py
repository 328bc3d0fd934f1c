"""Detached processes: found again, ended with all they started, never mistaken for another."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from millrace.errors import StackError
from millrace.stack import processes
from millrace.stack.processes import Record
from millrace.stack.waiting import wait_until

# A leader whose child sits in a session of its own, as a notebook's kernel does.
LEADER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def _launch(folder: Path, source: str) -> Record:
    record = processes.launch(
        [sys.executable, "-c", source],
        environment=os.environ,
        directory=folder,
        log_path=folder / "log",
        record_path=folder / "record.json",
    )
    assert wait_until(lambda: (folder / "log").read_text() != "", timeout_s=20)
    return record


def _child(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "log").read_text()))


def test_a_stop_ends_children_in_sessions_of_their_own(tmp_path: Path) -> None:
    record = _launch(tmp_path, LEADER)
    child = _child(tmp_path)
    assert processes.is_alive(record)
    processes.stop(record)
    assert not processes.is_alive(record)
    assert not child.is_running()


def test_what_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    record = _launch(tmp_path, STUBBORN)
    processes.stop(record, patience_s=0.2)
    assert not processes.is_alive(record)


def test_members_of_the_session_are_found_after_their_leader_was_killed(tmp_path: Path) -> None:
    record = _launch(tmp_path, LEADER.replace("start_new_session=True", "start_new_session=False"))
    child = _child(tmp_path)
    processes.kill([psutil.Process(record.pid)])
    assert not processes.is_alive(record)
    assert [p.pid for p in processes.family(record)] == [child.pid]
    processes.stop(record)
    assert not child.is_running()


def test_a_recycled_process_id_is_not_ours(tmp_path: Path) -> None:
    record = _launch(tmp_path, STUBBORN)
    stranger = replace(record, started_at=record.started_at - 3600)
    try:
        assert not processes.is_alive(stranger)
        assert processes.family(stranger) == []
        processes.stop(stranger)
        assert processes.is_alive(record)
    finally:
        processes.stop(record, patience_s=0)


def test_a_record_is_read_back_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    record = _launch(tmp_path, STUBBORN)
    try:
        assert processes.read(tmp_path / "record.json") == record
    finally:
        processes.stop(record, patience_s=0)
    (tmp_path / "record.json").write_text('{"pid": 1')
    assert processes.read(tmp_path / "record.json") is None
    assert processes.read(tmp_path / "absent.json") is None


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no-such-program"):
        processes.launch(
            ["no-such-program"],
            environment={},
            directory=tmp_path,
            log_path=tmp_path / "log",
            record_path=tmp_path / "record.json",
        )
