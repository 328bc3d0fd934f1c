"""What all collections do. An adapter joins by a line in the `collections` fixture."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from uuid import uuid4

import numpy as np
import pytest

from millrace.errors import StaleFence, VectorsError
from millrace.vectors import Chunk, Collections, Query, open_collections
from millrace.vectors.base import Hits, SearchMode, Vectors, identified

MODEL = "four-numbers"
TEXTS = ["waterproof hiking boots", "red running shoes", "warm wool hat", "hiking poles"]


@pytest.fixture(params=["pgvector"])
def collections(request: pytest.FixtureRequest, database_url: str) -> Collections:
    found = open_collections(database_url)
    found.prepare()
    return found


@pytest.fixture
def name(collections: Collections) -> Iterator[str]:
    chosen = f"test.{uuid4().hex[:8]}"
    yield chosen
    collections.drop(chosen)


def _chunks(name: str, texts: Sequence[str] = TEXTS, source: str = "catalogue.csv") -> list[Chunk]:
    return identified(
        name,
        [
            Chunk(t, source, n, row=n + 1, properties={"kind": t.split()[-1], "price": n * 10})
            for n, t in enumerate(texts)
        ],
    )


def _axes(count: int, dim: int = 4) -> Vectors:
    return np.eye(dim, dtype=np.float32)[:count]


def _fill(collections: Collections, name: str) -> list[Chunk]:
    chunks = _chunks(name)
    collections.write(name, chunks, _axes(4), embed_model=MODEL)
    return chunks


def _texts(hits: Hits) -> list[str]:
    return [hit.text for hit in hits]


def test_the_first_write_makes_the_collection(collections: Collections, name: str) -> None:
    assert collections.info(name) is None
    assert collections.content_hashes(name) == {}
    chunks = _fill(collections, name)
    info = collections.info(name)
    assert info is not None
    assert (info.dim, info.embed_model, info.chunks) == (4, MODEL, 4)
    assert name in collections.names()
    assert collections.content_hashes(name) == {c.chunk_id: c.content_hash for c in chunks}


def test_a_hit_is_the_chunk_that_was_written(collections: Collections, name: str) -> None:
    chunks = _fill(collections, name)
    [hits] = collections.search(name, [Query("", _axes(1)[0])], k=1, mode="vector")
    [hit] = hits
    assert (hit.chunk_id, hit.text, hit.source_uri, hit.position, hit.page, hit.row) == (
        chunks[0].chunk_id, TEXTS[0], "catalogue.csv", 0, None, 1,
    )  # fmt: skip
    assert hit.properties == {"kind": "boots", "price": 0}
    assert hit.score > 0


@pytest.mark.parametrize(
    ("mode", "text", "axis", "first"),
    [
        ("vector", "hat", 1, "red running shoes"),
        ("keyword", "a hat for winter", 1, "warm wool hat"),
        ("hybrid", "the warm hat", 2, "warm wool hat"),
        ("hybrid", "nothing in common", 1, "red running shoes"),
        ("hybrid", "", 3, "hiking poles"),
    ],
)
def test_modes(
    collections: Collections, name: str, mode: SearchMode, text: str, axis: int, first: str
) -> None:
    _fill(collections, name)
    [hits] = collections.search(name, [Query(text, _axes(4)[axis])], mode=mode)
    assert hits[0].text == first
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_keyword_search_needs_no_vector_and_finds_only_words(
    collections: Collections, name: str
) -> None:
    _fill(collections, name)
    found = collections.search(name, [Query("hiking"), Query("zebra")], mode="keyword")
    assert sorted(_texts(found[0])) == ["hiking poles", "waterproof hiking boots"]
    assert found[1] == Hits()


def test_a_batch_of_queries_keeps_its_order(collections: Collections, name: str) -> None:
    _fill(collections, name)
    queries = [Query(TEXTS[n % 4], _axes(4)[n % 4]) for n in range(100)]
    found = collections.search(name, queries, k=2)
    assert [_texts(hits)[0] for hits in found] == [TEXTS[n % 4] for n in range(100)]
    assert {len(hits) for hits in found} == {2}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"kind": "hat"}, ["warm wool hat"]),
        ({"kind": ["hat", "shoes"]}, ["red running shoes", "warm wool hat"]),
        ({"price": 0}, ["waterproof hiking boots"]),
        ({"kind": ["hat", "poles"], "price": 30}, ["hiking poles"]),
        ({"colour": "red"}, []),
        ({"kind": "hat' OR true --"}, []),
    ],
)
def test_filters(
    collections: Collections, name: str, where: dict[str, object], expected: list[str]
) -> None:
    _fill(collections, name)
    [hits] = collections.search(name, [Query("hiking hat", _axes(1)[0])], where=where)
    assert sorted(_texts(hits)) == expected


def test_one_write_inserts_moves_and_deletes(collections: Collections, name: str) -> None:
    chunks = _fill(collections, name)
    moved = Chunk(
        TEXTS[1], "catalogue.csv", 7, properties={"new": True}, chunk_id=chunks[1].chunk_id
    )
    [extra] = _chunks(name, ["tent"])
    collections.write(
        name, [extra], _axes(1), embed_model=MODEL, moved=[moved], delete=[chunks[0].chunk_id]
    )
    assert set(collections.content_hashes(name)) == {
        c.chunk_id for c in (extra, chunks[1], chunks[2], chunks[3])
    }
    [hits] = collections.search(name, [Query("", _axes(4)[1])], k=1, mode="vector")
    assert (hits[0].position, hits[0].row, dict(hits[0].properties)) == (7, None, {"new": True})


def test_hashes_by_source_and_by_id(collections: Collections, name: str) -> None:
    first, second = _chunks(name, ["a"], "docs/1.md"), _chunks(name, ["b"], "docs_2.md")
    collections.write(name, first + second, _axes(2), embed_model=MODEL)
    assert set(collections.content_hashes(name, source_prefix="docs/")) == {first[0].chunk_id}
    wanted = [second[0].chunk_id, str(uuid4())]
    assert set(collections.content_hashes(name, chunk_ids=wanted)) == {second[0].chunk_id}


def test_readers_never_see_half_a_write(collections: Collections, name: str) -> None:
    """Two generations of 200 chunks are swapped while a reader counts what it sees."""
    dim, size = 8, 200
    rng = np.random.default_rng(0)
    editions = [
        identified(name, [Chunk(f"{n} of {e}", f"{e}.txt", n) for n in range(size)])
        for e in ("old", "new")
    ]
    vectors = rng.normal(size=(size, dim)).astype(np.float32)
    collections.write(name, editions[0], vectors, embed_model=MODEL)
    seen, done = set[int](), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(len(collections.content_hashes(name)))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(6):
        here, there = editions[turn % 2], editions[1 - turn % 2]
        gone = [c.chunk_id for c in here]
        collections.write(name, there, vectors, embed_model=MODEL, delete=gone)
    done.set()
    reader.join()
    assert seen == {size}


def test_many_first_writers_make_one_collection(collections: Collections, name: str) -> None:
    faults: list[Exception] = []

    def write(n: int) -> None:
        try:
            collections.write(name, _chunks(name, [f"text {n}"]), _axes(1), embed_model=MODEL)
        except VectorsError as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(collections.content_hashes(name)) == 8


def test_ids_follow_the_text_and_not_its_place(name: str) -> None:
    before, after = _chunks(name, ["a", "b", "b"]), _chunks(name, ["new", "a", "b", "b"])
    assert [c.chunk_id for c in after[1:]] == [c.chunk_id for c in before]
    assert len({c.chunk_id for c in after}) == 4
    assert before[0].content_hash != after[1].content_hash
    assert _chunks("other", ["a"])[0].chunk_id != before[0].chunk_id


def test_odd_texts_and_names(collections: Collections) -> None:
    for odd in ("collection", "x" * 200, "A.b-c_d", "select"):
        chunks = _chunks(odd, ["nul \x00 and 'quotes' and \\u0000 and %s {x}", "Zoë 🏔"])
        collections.write(odd, chunks, _axes(2), embed_model=MODEL)
        [hits] = collections.search(odd, [Query("quotes' & | ! (", _axes(1)[0])])
        assert "and 'quotes' and" in hits[0].text
        collections.drop(odd)
        assert odd not in collections.names()


def test_what_does_not_fit_is_refused_by_name(collections: Collections, name: str) -> None:
    chunks = _fill(collections, name)
    with pytest.raises(VectorsError, match=r"'four-numbers' \(4 numbers\).*'other' \(5\)"):
        collections.write(name, chunks[:1], _axes(1, 5), embed_model="other")
    with pytest.raises(VectorsError, match="this query has 5"):
        collections.search(name, [Query("x", _axes(1, 5)[0])])
    with pytest.raises(VectorsError, match="4 chunks came with vectors of shape"):
        collections.write(name, chunks, _axes(3), embed_model=MODEL)
    with pytest.raises(VectorsError, match="NaN"):
        collections.write(name, chunks, _axes(4) * np.float32("nan"), embed_model=MODEL)
    with pytest.raises(VectorsError, match=rf"no collection 'absent'.*{name}"):
        collections.search("absent", [Query("x", _axes(1)[0])])
    with pytest.raises(VectorsError, match="no name for a collection"):
        collections.info("a b; drop")


def test_a_stale_token_writes_nothing(collections: Collections, name: str) -> None:
    with pytest.raises(StaleFence):
        collections.write(name, _chunks(name), _axes(4), embed_model=MODEL, token="stale")
    assert collections.info(name) is None
    _fill(collections, name)
    with pytest.raises(StaleFence):
        collections.drop(name, token="stale")
    assert len(collections.content_hashes(name)) == 4


def test_an_absent_server_is_said() -> None:
    with pytest.raises(VectorsError, match=r"does not answer.*millrace status"):
        open_collections("postgresql://u:secret-pw@127.0.0.1:9/x").names()
    with pytest.raises(VectorsError, match="MILLRACE_VECTORS_URL"):
        open_collections("https://example.org")
