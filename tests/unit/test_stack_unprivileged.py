"""Postgres as root: who it runs as, and how it gets past closed folders."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from millrace.stack.unprivileged import owner_of, prefix

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")


def test_an_ordinary_user_runs_it_himself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert owner_of(tmp_path) is None
    assert prefix(None, tmp_path) == ()


@as_root
def test_data_keep_their_owner(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(tmp_path, nobody.pw_uid, nobody.pw_gid)
    found = owner_of(tmp_path)
    assert found is not None
    assert found.pw_name == "nobody"


@as_root
def test_a_command_runs_as_another_and_passes_closed_folders(tmp_path: Path) -> None:
    closed = tmp_path / "closed to others"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("reached")
    (closed / "file").chmod(0o600)
    nobody = pwd.getpwnam("nobody")
    done = subprocess.run(
        [*prefix(nobody, closed), "sh", "-c", f"id -un; cat '{closed}/file'; touch '{closed}/new'"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["nobody", "reached"]
    assert not (closed / "new").exists()


@as_root
def test_open_folders_need_no_capability() -> None:
    words = prefix(pwd.getpwnam("nobody"), Path("/usr/bin"))
    assert not [word for word in words if "caps" in word]
