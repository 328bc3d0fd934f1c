"""What only pgvector does: roles share collections, and searches stay on their indexes."""

from __future__ import annotations

import json

import numpy as np
import psycopg2
import pytest

from millrace.vectors import Chunk, Query, open_collections
from millrace.vectors.base import Vectors, identified
from millrace.vectors.pgvector import SQL, PgvectorCollections
from tests.databases import as_role, execute


@pytest.fixture(scope="module")
def prepared_url(database_url: str) -> str:
    open_collections(database_url).prepare()
    open_collections(database_url).prepare()
    return database_url


def _random(count: int) -> Vectors:
    return np.random.default_rng(1).normal(size=(count, 16)).astype(np.float32)


@pytest.mark.parametrize("first", ["millrace", "millrace_kernel", "millrace_author"])
def test_whoever_makes_a_collection_all_roles_use_it(prepared_url: str, first: str) -> None:
    roles = ["millrace", "millrace_kernel", "millrace_author"]
    roles.sort(key=lambda role: role != first)
    name = f"made_by_{first}"
    for number, role in enumerate(roles):
        collections = open_collections(as_role(prepared_url, role))
        chunks = identified(name, [Chunk(f"by {role}")])
        collections.write(name, chunks, _random(1), embed_model="m")
        info = collections.info(name)
        assert info is not None
        assert info.chunks == number + 1


def test_kernels_reach_nothing_but_their_schema(prepared_url: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(as_role(prepared_url, "millrace_kernel"), "SELECT * FROM control.process_run")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(as_role(prepared_url, "millrace_kernel"), "CREATE TABLE public.x ()")


def test_a_search_uses_the_vector_index_and_the_word_index(prepared_url: str) -> None:
    collections = open_collections(prepared_url)
    chunks = identified("big", [Chunk(f"text number{n} of many") for n in range(3000)])
    vectors = _random(3000)
    collections.write("big", chunks, vectors, embed_model="m")
    execute(prepared_url, 'ANALYZE vectors."big"')
    query = Query("number7", vectors[7])
    assert '"big_embedding_idx"' in _plan(prepared_url, "big", query)
    # 3,000 rows are few enough to be read one by one: only what is possible shows.
    assert '"big_words_idx"' in _plan(
        f"{prepared_url}?options=-cenable_seqscan%3Doff", "big", query
    )
    [hits] = collections.search("big", [Query("number7", vectors[7])], k=3)
    assert hits[0].text == "text number7 of many"


def _plan(url: str, table: str, query: Query) -> str:
    assert query.vector is not None
    statement = SQL["search"].format(table=f'vectors."{table}"', fits="TRUE")
    values = {
        "texts": [query.text],
        "embeddings": [json.dumps(query.vector.tolist())],
        "by_words": True,
        "candidates": 40,
        "k": 3,
    }
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("EXPLAIN (FORMAT JSON) " + statement, values)
            return json.dumps(cursor.fetchall())
    finally:
        connection.close()


def test_a_filter_that_fits_few_still_finds_k(prepared_url: str) -> None:
    """The index gives its nearest candidates first; those that do not fit must not use them up."""
    collections = PgvectorCollections(prepared_url)
    vectors = _random(2000)
    chunks = identified(
        "rare", [Chunk(f"t{n}", properties={"rare": n % 100 == 0}) for n in range(2000)]
    )
    collections.write("rare", chunks, vectors, embed_model="m")
    [hits] = collections.search(
        "rare", [Query("", vectors[1])], k=5, mode="vector", where={"rare": True}
    )
    assert len(hits) == 5
    assert all(hit.properties["rare"] for hit in hits)
