"""What only the local folder does: plain files, durable writes, the disk's own errors."""

from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path

import pytest

from millrace.errors import LakeError
from millrace.lake import open_lake


def test_objects_are_plain_files_and_nothing_is_left_over(tmp_path: Path) -> None:
    lake = open_lake(tmp_path.as_uri())
    lake.write_bytes("a/b.txt", b"x")
    assert (tmp_path / "a" / "b.txt").read_text() == "x"
    assert (tmp_path / "a" / "b.txt").stat().st_mode & 0o777 == 0o644
    assert list((tmp_path / ".staging").iterdir()) == []


def test_a_full_disk_is_said_and_leaves_the_old_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_lake(tmp_path.as_uri())
    lake.write_bytes("a", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LakeError, match=r"'a'.*disk of .* is full"):
        lake.write_bytes("a", b"new")
    assert lake.read_bytes("a") == b"old"
    assert list((tmp_path / ".staging").iterdir()) == []


def _write_for_ever(url: str, started: object) -> None:
    lake = open_lake(url)
    for n in range(1_000_000):
        lake.write_bytes("a", bytes([65 + n % 26]) * 200_000)
        started.set()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kill", range(5))
def test_a_killed_writer_leaves_a_whole_object(tmp_path: Path, kill: int) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_write_for_ever, args=(tmp_path.as_uri(), started))
    process.start()
    started.wait()
    process.kill()
    process.join()
    data = open_lake(tmp_path.as_uri()).read_bytes("a")
    assert data == data[:1] * 200_000
