"""What every lake does. An adapter joins by a line in the `lake` fixture."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.errors import LakeError, ObjectNotFound
from millrace.lake import Lake, open_lake


@pytest.fixture(params=["local"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return open_lake((tmp_path / "a lake with spaces").as_uri())


def test_what_is_written_is_read(lake: Lake) -> None:
    written = lake.write_bytes("data/a b.txt", b"hello")
    assert (written.key, written.size_bytes) == ("data/a b.txt", 5)
    assert written.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert written.uri == lake.uri("data/a b.txt")
    assert lake.read_bytes("data/a b.txt") == b"hello"
    with lake.open_read("data/a b.txt") as stream:
        assert io.BytesIO(stream.read()).getvalue() == b"hello"
    lake.write_bytes("data/a b.txt", b"again")
    assert lake.read_bytes("data/a b.txt") == b"again"


def test_a_stream_is_written_part_by_part_or_not_at_all(lake: Lake) -> None:
    written = lake.write_stream("big", (bytes([n]) * 1000 for n in range(100)))
    assert written.size_bytes == 100_000
    assert lake.read_bytes("big")[50_000] == 50

    def breaks() -> object:
        yield b"half"
        raise RuntimeError("the source is gone")

    with pytest.raises(RuntimeError):
        lake.write_stream("big", breaks())  # type: ignore[arg-type]
    assert lake.read_bytes("big")[:1] == b"\0"
    assert [e.key for e in lake.list()] == ["big"]


def test_create_only_refuses_to_replace(lake: Lake) -> None:
    lake.write_bytes("once", b"1", create_only=True)
    with pytest.raises(LakeError, match=r"'once'.*choose another key"):
        lake.write_bytes("once", b"2", create_only=True)
    assert lake.read_bytes("once") == b"1"


def test_one_of_many_creators_wins(lake: Lake) -> None:
    def create(n: int) -> bool:
        try:
            lake.write_bytes("once", str(n).encode(), create_only=True)
        except LakeError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(32)))
    assert sum(won) == 1
    assert lake.read_bytes("once") == str(won.index(True)).encode()


def test_swap_needs_the_version_that_was_read(lake: Lake) -> None:
    assert lake.read_version("p") is None
    assert lake.swap("p", b"1", expected=None)
    assert not lake.swap("p", b"2", expected=None)
    found = lake.read_version("p")
    assert found is not None
    assert lake.swap("p", b"2", expected=found[1])
    assert not lake.swap("p", b"3", expected=found[1])
    assert lake.read_bytes("p") == b"2"


def test_no_swap_is_lost_among_many(lake: Lake) -> None:
    lake.write_bytes("n", b"0")

    def add_one(_: int) -> None:
        while True:
            found = lake.read_version("n")
            assert found is not None
            if lake.swap("n", str(int(found[0]) + 1).encode(), expected=found[1]):
                return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, range(40)))
    assert lake.read_bytes("n") == b"40"


def test_a_listing_is_by_prefix_and_in_order(lake: Lake) -> None:
    for key in ("b/2", "b/1", "bb", "a", "b/c/3"):
        lake.write_bytes(key, b"xy")
    assert [e.key for e in lake.list()] == ["a", "b/1", "b/2", "b/c/3", "bb"]
    assert [e.key for e in lake.list("b/")] == ["b/1", "b/2", "b/c/3"]
    assert [e.key for e in lake.list("b")] == ["b/1", "b/2", "b/c/3", "bb"]
    assert list(lake.list("nothing/here")) == []
    [entry] = lake.list("a")
    assert entry.size_bytes == 2
    assert datetime.now(UTC) - entry.modified_at < timedelta(minutes=5)


def test_copies_and_deletions(lake: Lake) -> None:
    lake.write_bytes("a", b"1")
    lake.write_bytes("b/old", b"2")
    lake.copy("a", "b/old")
    assert lake.read_bytes("b/old") == b"1"
    lake.write_bytes("a", b"3")
    assert lake.read_bytes("b/old") == b"1"
    lake.delete("a")
    lake.delete("a")
    assert not lake.exists("a")
    assert lake.exists("b/old")
    assert not lake.exists("b")
    with pytest.raises(ObjectNotFound):
        lake.copy("a", "c")


def test_what_is_absent_is_named_with_what_is_near(lake: Lake) -> None:
    lake.write_bytes("raw/orders.csv", b"")
    with pytest.raises(ObjectNotFound, match=r"'raw/order\.csv'.*Near it: raw/orders\.csv"):
        lake.read_bytes("raw/order.csv")
    with pytest.raises(ObjectNotFound, match="Nothing lies under other"):
        lake.open_read("other/x")


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../up", "a/../../up", "a//b", "a/./b", "a\\b", "nul\0", "a\nb", ".staging/x",
     "dir/", "x" * 300, "/".join(["deep"] * 300)],
)  # fmt: skip
def test_malformed_keys_are_refused(lake: Lake, key: str) -> None:
    for use in (lake.read_bytes, lake.exists, lake.delete, lake.uri):
        with pytest.raises(LakeError, match="Lake key"):
            use(key)
    with pytest.raises(LakeError, match="Lake key"):
        lake.write_bytes(key, b"")


def test_an_object_cannot_be_a_folder_too(lake: Lake) -> None:
    lake.write_bytes("a/b", b"1")
    with pytest.raises(LakeError, match="'a'"):
        lake.write_bytes("a", b"2")
    with pytest.raises(LakeError, match="'a/b/c'"):
        lake.write_bytes("a/b/c", b"2")


@pytest.mark.parametrize("url", ["s3://bucket/x", "file://host/x", "/plain/path", "", "file:x"])
def test_other_urls_are_refused_by_name(url: str) -> None:
    with pytest.raises(LakeError, match="MILLRACE_LAKE_URL"):
        open_lake(url)
