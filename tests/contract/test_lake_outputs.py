"""Manifests and frames over the lake: an output is whole, checked, and never goes backwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from millrace.errors import LakeError, StaleFence
from millrace.lake import Lake, open_lake
from millrace.lake.frames import decode_frame, encode_frame
from millrace.lake.manifest import SUFFIX, Writer, fetch, publish, read_manifest

KEY = "data/recommendations/2026-11-20.parquet"


@pytest.fixture(params=["local"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return open_lake((tmp_path / "lake").as_uri())


def _writer(
    fence: int, *, generation: int = 1, assert_fence: Callable[[], None] = lambda: None
) -> Writer:
    return Writer(f"recommend#{fence}", generation, fence, assert_fence)


def _keys(lake: Lake) -> list[str]:
    return [entry.key for entry in lake.list()]


def test_an_output_is_object_manifest_and_plain_file(lake: Lake) -> None:
    manifest = publish(lake, KEY, b"rows", writer=_writer(3), rows=7)
    assert (manifest.rows, manifest.size_bytes, manifest.run_id) == (7, 4, "recommend#3")
    assert read_manifest(lake, KEY) == manifest
    assert lake.read_bytes(KEY) == fetch(lake, KEY) == b"rows"
    assert manifest.object_key.startswith(f"versions/{KEY}/g1-f3-")
    assert _keys(lake) == [KEY, KEY + SUFFIX, manifest.object_key]


def test_a_later_attempt_leaves_one_manifest_and_one_object(lake: Lake) -> None:
    for fence in (1, 2, 2, 5):
        publish(lake, KEY, f"by {fence}".encode(), writer=_writer(fence))
    assert len(_keys(lake)) == 3
    assert lake.read_bytes(KEY) == fetch(lake, KEY) == b"by 5"


def test_an_earlier_generation_stays_readable(lake: Lake) -> None:
    first = publish(lake, KEY, b"g1", writer=_writer(4))
    publish(lake, KEY, b"g2", writer=_writer(1, generation=2))
    assert fetch(lake, KEY) == b"g2"
    assert lake.read_bytes(first.object_key) == b"g1"


@pytest.mark.parametrize("stopped_at", ["assert", "swap"])
def test_a_writer_that_was_stopped_replaces_nothing_newer(
    lake: Lake, stopped_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old attempt is held where its fence was already found good; a newer one publishes."""
    stopped, go_on = threading.Event(), threading.Event()
    failures: list[Exception] = []

    def hold() -> None:
        stopped.set()
        go_on.wait()

    def old_attempt() -> None:
        try:
            publish(slow, KEY, b"old", writer=_writer(1, assert_fence=check))
        except StaleFence as error:
            failures.append(error)

    slow = open_lake(lake.url)
    check = hold if stopped_at == "assert" else lambda: None
    swap = slow.swap

    def held_swap(key: str, data: bytes, *, expected: str | None) -> bool:
        hold()
        return swap(key, data, expected=expected)

    if stopped_at == "swap":
        monkeypatch.setattr(slow, "swap", held_swap)
    thread = threading.Thread(target=old_attempt)
    thread.start()
    stopped.wait()
    publish(lake, KEY, b"new", writer=_writer(2))
    go_on.set()
    thread.join()
    assert len(failures) == 1
    assert lake.read_bytes(KEY) == fetch(lake, KEY) == b"new"


def test_a_stale_fence_leaves_readers_the_old_output(lake: Lake) -> None:
    def stale() -> None:
        raise StaleFence

    publish(lake, KEY, b"old", writer=_writer(1))
    with pytest.raises(StaleFence):
        publish(lake, KEY, b"new", writer=_writer(2, assert_fence=stale))
    assert lake.read_bytes(KEY) == fetch(lake, KEY) == b"old"


def test_bytes_that_changed_are_not_served(lake: Lake) -> None:
    manifest = publish(lake, KEY, b"rows", writer=_writer(1))
    lake.write_bytes(manifest.object_key, b"rust")
    with pytest.raises(LakeError, match="not those that run recommend#1 published"):
        fetch(lake, KEY)
    lake.write_bytes(KEY + SUFFIX, b"{}")
    with pytest.raises(LakeError, match="is no manifest"):
        fetch(lake, KEY)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl", "json"])
def test_frames_come_back_as_they_were(suffix: str) -> None:
    frame = pd.DataFrame({"id": [1, 2], "name": ["Zoë", 'a "b", c'], "price": [1.5, None]})
    data = encode_frame(f"x.{suffix}", frame.set_index(pd.Index([7, 8])))
    pd.testing.assert_frame_equal(decode_frame(f"x.{suffix}", data), frame, check_dtype=False)


def test_frames_that_do_not_fit_are_refused_by_key() -> None:
    with pytest.raises(LakeError, match=r"'x\.docx'.*\.csv, \.json"):
        encode_frame("x.docx", pd.DataFrame())
    with pytest.raises(LakeError, match=r"'x\.parquet' cannot be read"):
        decode_frame("x.parquet", b"no parquet")
    with pytest.raises(LakeError, match=r"cannot be written to 'x\.parquet'"):
        encode_frame("x.parquet", pd.DataFrame({"a": [object()]}))
    assert list(decode_frame("x.csv", b"a;b\n1;2", delimiter=";").columns) == ["a", "b"]
