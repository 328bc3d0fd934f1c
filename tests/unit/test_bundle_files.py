"""Files of the control bundle: only what changed is touched, and nothing is seen half-made."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from millrace.airflow import bundle_files


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "stream.py").write_text("# airflow DAG\n")
    (folder / "housekeeping.py").write_text("# airflow DAG of the house\n")
    return folder


def content(**streams: int) -> dict[str, Any]:
    return {"streams": {name: {"value": value} for name, value in streams.items()}}


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("stream_*")}


def test_a_change_touches_its_own_stream_only_and_dates_the_dag_file_ahead(
    tmp_path: Path, templates: Path
) -> None:
    folder = tmp_path / "current"
    assert bundle_files.lay_out(folder, content(a=1, b=1), templates) == 2
    before = stamps(folder)
    assert bundle_files.lay_out(folder, content(a=1, b=2), templates) == 1
    after = stamps(folder)
    stem = bundle_files.file_stem("b")
    assert {name for name in after if after[name] != before[name]} == {f"{stem}.json", f"{stem}.py"}
    assert (folder / f"{stem}.py").stat().st_mtime > time.time()
    assert json.loads((folder / f"{stem}.json").read_text()) == {"value": 2}


def test_nothing_is_touched_when_nothing_changed(tmp_path: Path, templates: Path) -> None:
    folder = tmp_path / "current"
    bundle_files.lay_out(folder, content(a=1), templates)
    before = stamps(folder)
    assert bundle_files.lay_out(folder, content(a=1), templates) == 0
    assert stamps(folder) == before


def test_a_vanished_stream_leaves_no_file(tmp_path: Path, templates: Path) -> None:
    folder = tmp_path / "current"
    bundle_files.lay_out(folder, content(a=1, b=1), templates)
    bundle_files.lay_out(folder, content(a=1), templates)
    assert {path.stem for path in folder.glob("stream_*")} == {bundle_files.file_stem("a")}


def test_a_damaged_file_is_mended(tmp_path: Path, templates: Path) -> None:
    folder = tmp_path / "current"
    bundle_files.lay_out(folder, content(a=1), templates)
    damaged = folder / f"{bundle_files.file_stem('a')}.json"
    damaged.write_bytes(b"\xff{")
    bundle_files.lay_out(folder, content(a=1), templates)
    assert json.loads(damaged.read_text()) == {"value": 1}


def test_stems_stay_apart_where_names_differ_by_case_or_punctuation_alone() -> None:
    stems = {
        bundle_files.file_stem(name).lower() for name in ["a.b", "a_b", "A_b", "a-b", "x" * 200]
    }
    assert len(stems) == 5
    assert all(stem.isidentifier() and len(stem) < 100 for stem in stems)


def test_a_version_appears_at_once_and_twice_is_once(tmp_path: Path, templates: Path) -> None:
    first = bundle_files.lay_out_version(tmp_path / "versions", "v1", content(a=1), templates)
    again = bundle_files.lay_out_version(tmp_path / "versions", "v1", content(a=1), templates)
    assert first == again
    assert [p.name for p in (tmp_path / "versions").iterdir()] == ["v1"]
    assert bundle_files.read_content(first) == content(a=1)


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff"])
def test_a_damaged_version_is_found_out_and_made_anew(
    tmp_path: Path, templates: Path, damage: bytes
) -> None:
    versions = tmp_path / "versions"
    folder = bundle_files.lay_out_version(versions, "v1", content(a=1), templates)
    for path in list(folder.iterdir()):
        assert bundle_files.is_whole(folder)
        path.write_bytes(damage)
        assert not bundle_files.is_whole(folder)
        bundle_files.lay_out_version(versions, "v1", content(a=1), templates)
    assert [p.name for p in versions.iterdir()] == ["v1"]
    assert bundle_files.read_content(folder) == content(a=1)


def test_content_that_is_absent_or_damaged_reads_as_none(tmp_path: Path) -> None:
    assert bundle_files.read_content(tmp_path) is None
    bundle_files.write_content(tmp_path, content(a=1))
    whole = (tmp_path / bundle_files.CONTENT).read_bytes()
    assert bundle_files.read_content(tmp_path) == content(a=1)
    for damaged in (b"", b"{}", b"\xff", whole[:-1], whole.replace(b"1}", b"2}"), whole + b" "):
        (tmp_path / bundle_files.CONTENT).write_bytes(damaged)
        assert bundle_files.read_content(tmp_path) is None


def test_pruning_keeps_the_newest_and_whatever_is_young(tmp_path: Path, templates: Path) -> None:
    assert bundle_files.prune_versions(tmp_path / "versions", keep=1) == 0
    for name in ("v1", "v2", "v3"):
        bundle_files.lay_out_version(tmp_path / "versions", name, content(a=1), templates)
    assert bundle_files.prune_versions(tmp_path / "versions", keep=1) == 0
    assert bundle_files.prune_versions(tmp_path / "versions", keep=1, older_than_s=-1) == 2
