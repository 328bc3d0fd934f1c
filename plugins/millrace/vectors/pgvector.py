"""Collections in Postgres with pgvector: schema `vectors`, one table per collection.

The SQL is in pgvector.sql. The owner of the database makes the schema by `prepare`, or by its
first write; the control schema's fence function is called in the transaction of every write.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import psycopg2.extras
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from millrace.errors import StaleFence, VectorsError
from millrace.model import NAME_PATTERN
from millrace.sqlfile import load_statements
from millrace.vectors.base import (
    Chunk,
    CollectionInfo,
    Hit,
    Hits,
    Query,
    SearchMode,
    Vectors,
)

SQL = load_statements(Path(__file__).with_suffix(".sql"))

# Candidates per list before fusion: enough that a chunk that is good in both lists is in both.
CANDIDATES_PER_HIT = 8
MIN_CANDIDATES = 40
MAX_CANDIDATES = 1000
PAGE_ROWS = 500
STALE_FENCE = "MR001"


class PgvectorCollections:
    """Collections behind a postgresql:// URL. One short connection per call, safe in threads."""

    def __init__(self, url: str) -> None:
        self.url = url

    def prepare(self) -> None:
        """Make extension, schema and registry where they are not, and let the kernels' role in."""
        with self._transaction("", writes=True):
            pass

    def info(self, name: str) -> CollectionInfo | None:
        """The collection, or None."""
        with self._transaction(name) as cursor:
            found = _collection(cursor, name)
            if found is None:
                return None
            table_name, dim, embed_model = found
            cursor.execute(_on(table_name, "count_chunks"))
            return CollectionInfo(name, dim, embed_model, _one(cursor)[0])

    def names(self) -> Sequence[str]:
        """All collections, in order of name."""
        with self._transaction("") as cursor:
            if not _has_schema(cursor):
                return []
            cursor.execute(SQL["collection_names"])
            return [row[0] for row in cursor.fetchall()]

    def content_hashes(
        self, name: str, *, source_prefix: str = "", chunk_ids: Collection[str] | None = None
    ) -> Mapping[str, str]:
        """chunk_id -> content_hash of what is there."""
        with self._transaction(name) as cursor:
            found = _collection(cursor, name)
            if found is None:
                return {}
            wanted = None if chunk_ids is None else list(chunk_ids)
            values = {"source_prefix": source_prefix, "chunk_ids": wanted}
            cursor.execute(_on(found[0], "content_hashes"), values)
            return dict(cursor.fetchall())

    def write(
        self,
        name: str,
        chunks: Sequence[Chunk],
        vectors: Vectors,
        *,
        embed_model: str,
        moved: Sequence[Chunk] = (),
        delete: Collection[str] = (),
        token: str | None = None,
    ) -> None:
        """Apply one change in one transaction, under the run's fence where there is a token."""
        _check_vectors(name, chunks, vectors)
        with self._transaction(name, writes=True) as cursor:
            cursor.execute(SQL["lock_collection"], {"name": name})
            found = _collection(cursor, name)
            if found is None:
                if not chunks:
                    return
                found = _create(cursor, name, int(vectors.shape[1]), embed_model)
            table_name, dim, model = found
            if chunks and (dim != vectors.shape[1] or model != embed_model):
                raise _other_model(name, found, int(vectors.shape[1]), embed_model)
            _delete(cursor, table_name, delete)
            _move(cursor, table_name, moved)
            _upsert(cursor, table_name, chunks, vectors)
            _assert_fence(cursor, token)

    def search(
        self,
        name: str,
        queries: Sequence[Query],
        *,
        k: int = 5,
        mode: SearchMode = "hybrid",
        where: Mapping[str, Any] | None = None,
    ) -> list[Hits]:
        """The best `k` chunks for each query, by one statement."""
        candidates = min(max(MIN_CANDIDATES, k * CANDIDATES_PER_HIT), MAX_CANDIDATES)
        with self._transaction(name) as cursor:
            found = _collection(cursor, name)
            if found is None:
                raise _absent(name, self._names_with(cursor))
            cursor.execute(SQL["tune_search"], {"candidates": candidates})
            fits = sql.SQL(SQL["fits_where" if where else "fits_all"])
            cursor.execute(
                _on(found[0], "search", fits=fits),
                {
                    "texts": [query.text for query in queries],
                    "embeddings": [_embedding(name, query, mode, found) for query in queries],
                    "by_words": mode != "vector",
                    "candidates": candidates,
                    "where": json.dumps(dict(where or {}), default=str),
                    "k": k,
                },
            )
            return _hits(cursor.fetchall(), len(queries))

    def drop(self, name: str, *, token: str | None = None) -> None:
        """Remove the collection and its table."""
        with self._transaction(name) as cursor:
            cursor.execute(SQL["lock_collection"], {"name": name})
            if _collection(cursor, name) is None:
                return
            _become_kernel(cursor)
            cursor.execute(SQL["forget_collection"], {"name": name})
            cursor.execute(_on(_one(cursor)[0], "drop_chunks"))
            _assert_fence(cursor, token)

    def _names_with(self, cursor: Cursor) -> list[str]:
        if not _has_schema(cursor):
            return []
        cursor.execute(SQL["collection_names"])
        return [row[0] for row in cursor.fetchall()]

    @contextlib.contextmanager
    def _transaction(self, name: str, *, writes: bool = False) -> Iterator[Cursor]:
        if name and not NAME_PATTERN.match(name):
            raise VectorsError(
                f"{name[:100]!r} is no name for a collection.",
                cure="Use letters, digits, '_', '.' and '-'.",
            )
        try:
            connection = psycopg2.connect(self.url, application_name="millrace vectors")
        except psycopg2.OperationalError as exc:
            raise VectorsError(
                f"The vectors' Postgres does not answer: {' '.join(str(exc).split())}",
                cure="See `millrace status`.",
            ) from exc
        try:
            with connection, connection.cursor() as cursor:
                if writes and not _has_schema(cursor):
                    _create_schema(cursor)
                yield cursor
        except psycopg2.Error as exc:
            if exc.pgcode == STALE_FENCE:
                raise StaleFence(str(exc).splitlines()[0]) from exc
            raise VectorsError(f"Collection {name!r}: {' '.join(str(exc).split())}") from exc
        finally:
            connection.close()


def _has_schema(cursor: Cursor) -> bool:
    cursor.execute(SQL["schema_exists"])
    return bool(_one(cursor)[0])


def _create_schema(cursor: Cursor) -> None:
    for statement in ("create_extension", "create_schema", "create_registry"):
        cursor.execute(SQL[statement])
    cursor.execute(SQL["sharers"])
    for (role,) in cursor.fetchall():
        cursor.execute(sql.SQL(SQL["share_schema"]).format(role=sql.Identifier(role)))


def _collection(cursor: Cursor, name: str) -> tuple[str, int, str] | None:
    if not _has_schema(cursor):
        return None
    cursor.execute(SQL["collection"], {"name": name})
    row: tuple[str, int, str] | None = cursor.fetchone()
    return row


def _create(cursor: Cursor, name: str, dim: int, embed_model: str) -> tuple[str, int, str]:
    _become_kernel(cursor)
    table_name = _table_name(name)
    cursor.execute(_on(table_name, "create_chunks", dim=sql.Literal(dim)))
    cursor.execute(SQL["sharers"])
    for (role,) in cursor.fetchall():
        cursor.execute(_on(table_name, "share_chunks", role=sql.Identifier(role)))
    values = {"name": name, "table_name": table_name, "dim": dim, "embed_model": embed_model}
    cursor.execute(SQL["register_collection"], values)
    return table_name, dim, embed_model


def _become_kernel(cursor: Cursor) -> None:
    cursor.execute(SQL["become_kernel"])
    for (role,) in cursor.fetchall():
        cursor.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))


def _table_name(name: str) -> str:
    """The collection's own name where Postgres can hold it, so that a person finds the table."""
    if len(name) <= 50 and name != "collection":
        return name
    return f"{name[:40]}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _upsert(cursor: Cursor, table_name: str, chunks: Sequence[Chunk], vectors: Vectors) -> None:
    rows = [
        (c.chunk_id, _clean(c.text), _literal(v), *_place(c))
        for c, v in zip(chunks, vectors, strict=True)
    ]
    statement = _on(table_name, "upsert_chunks").as_string(cursor)
    psycopg2.extras.execute_values(cursor, statement, rows, page_size=PAGE_ROWS)


def _move(cursor: Cursor, table_name: str, chunks: Sequence[Chunk]) -> None:
    rows = [(c.chunk_id, *_place(c)) for c in chunks]
    template = "(%s::uuid, %s, %s, %s::integer, %s::integer, %s, %s::jsonb)"
    statement = _on(table_name, "move_chunks").as_string(cursor)
    psycopg2.extras.execute_values(cursor, statement, rows, template, PAGE_ROWS)


def _delete(cursor: Cursor, table_name: str, chunk_ids: Collection[str]) -> None:
    if chunk_ids:
        cursor.execute(_on(table_name, "delete_chunks"), {"chunk_ids": list(chunk_ids)})


def _assert_fence(cursor: Cursor, token: str | None) -> None:
    # Last, so that the lock on the process run is held for the commit and not for the inserts.
    if token is not None:
        cursor.execute("RESET ROLE")
        cursor.execute(SQL["assert_fence"], {"token": token})


def _place(chunk: Chunk) -> tuple[object, ...]:
    properties = _clean(json.dumps(dict(chunk.properties), default=str))
    place = (_clean(chunk.source_uri), chunk.position, chunk.page, chunk.row)
    return (*place, chunk.content_hash, properties)


def _clean(text: str) -> str:
    # Postgres text holds no NUL, and PDFs do.
    return text.replace("\x00", "").replace("\\u0000", "")


def _literal(vector: Vectors) -> str:
    return "[" + ",".join(map(str, vector.tolist())) + "]"


def _embedding(
    name: str, query: Query, mode: SearchMode, found: tuple[str, int, str]
) -> str | None:
    if mode == "keyword":
        return None
    if query.vector is None or query.vector.shape != (found[1],):
        raise VectorsError(
            f"Collection {name!r} is searched with vectors of {found[1]} numbers; this query has "
            f"{'none' if query.vector is None else query.vector.shape[0]}.",
            cure=f"Embed queries with {found[2]!r}, the collection's model.",
        )
    return _literal(query.vector)


def _hits(rows: Sequence[tuple[Any, ...]], queries: int) -> list[Hits]:
    found: list[list[Hit]] = [[] for _ in range(queries)]
    for number, *columns in rows:
        found[number].append(Hit(*columns))
    return [Hits(hits) for hits in found]


def _check_vectors(name: str, chunks: Sequence[Chunk], vectors: Vectors) -> None:
    if not chunks:
        return
    if vectors.ndim != 2 or len(vectors) != len(chunks):
        raise VectorsError(
            f"Collection {name!r}: {len(chunks)} chunks came with vectors of shape {vectors.shape}."
        )
    if not np.isfinite(vectors).all():
        raise VectorsError(f"Collection {name!r}: a vector holds NaN or infinity.")


def _other_model(
    name: str, found: tuple[str, int, str], dim: int, embed_model: str
) -> VectorsError:
    return VectorsError(
        f"Collection {name!r} holds vectors of {found[2]!r} ({found[1]} numbers); these are of "
        f"{embed_model!r} ({dim}).",
        cure="Use another collection, or drop this one first: run.collection(name).drop().",
    )


def _absent(name: str, names: Sequence[str]) -> VectorsError:
    there = ", ".join(names) or "none yet"
    return VectorsError(
        f"There is no collection {name!r}.", cure=f"Ingest it first; there are: {there}."
    )


def _on(table_name: str, statement: str, **parts: sql.Composable) -> sql.Composed:
    table = sql.Identifier("vectors", table_name)
    return sql.SQL(SQL[statement]).format(table=table, **parts)


def _one(cursor: Cursor) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = cursor.fetchone()
    assert row is not None, "the statement returns one row"
    return row
