"""`run.collection()`: a collection together with the model that makes its vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pandas as pd

from millrace.errors import ContractError, VectorsError
from millrace.notebook.llm import Llm
from millrace.vectors.base import (
    Chunk,
    CollectionInfo,
    Collections,
    Hits,
    Query,
    SearchMode,
    Vectors,
    identified,
)

SCRATCH = "scratch."

ChunkLike = Chunk | str | Mapping[str, Any]
"""A chunk, its text, or a mapping: its `text`, and properties for the rest."""


@dataclass(frozen=True)
class WriteReport:
    """What a write did: chunks given, of these embedded and left alone, and those deleted."""

    chunks: int
    embedded: int
    unchanged: int
    deleted: int


class RunCollection:
    """One collection. Interactive runs write `scratch.<name>`, and read it where it is."""

    def __init__(
        self,
        name: str,
        collections: Collections,
        llm: Llm,
        *,
        token: str | None,
        interactive: bool,
    ) -> None:
        self.name = name
        self._collections = collections
        self._llm = llm
        self._token = token
        self._interactive = interactive
        self._write_name = SCRATCH + name if interactive else name

    def info(self) -> CollectionInfo | None:
        """What is there, or None before the first write."""
        scratch = self._collections.info(self._write_name)
        return scratch or (self._collections.info(self.name) if self._interactive else None)

    @overload
    def search(  # type: ignore[overload-overlap]  # a str, one text, is an Iterable[str] too
        self,
        texts: str,
        k: int = ...,
        mode: SearchMode = ...,
        where: Mapping[str, Any] | None = ...,
    ) -> Hits: ...

    @overload
    def search(
        self,
        texts: Iterable[str],
        k: int = ...,
        mode: SearchMode = ...,
        where: Mapping[str, Any] | None = ...,
    ) -> pd.Series: ...

    def search(
        self,
        texts: str | Iterable[str],
        k: int = 5,
        mode: SearchMode = "hybrid",
        where: Mapping[str, Any] | None = None,
    ) -> Hits | pd.Series:
        """The best `k` chunks for a text (Hits), or for each of many (a Series of Hits).

        The Series has the index of `texts`, so that it can become a column of their frame.
        `where` filters on properties: a value, or a list of allowed ones. Raises VectorsError.
        """
        asked = [texts] if isinstance(texts, str) else ["" if t is None else str(t) for t in texts]
        info = self.info()
        if info is None:
            found = self._collections.search(self.name, [], k=k)  # raises: names what there is
        else:
            found = self._searched(info, asked, k, mode, where)
        if isinstance(texts, str):
            return found[0]
        index = texts.index if isinstance(texts, pd.Series) else pd.RangeIndex(len(asked))
        return _series(found, index)

    def upsert(self, chunks: Iterable[ChunkLike]) -> WriteReport:
        """Insert chunks, or replace those with the same id; only new texts are embedded."""
        return self._write(chunks, None)

    def replace(
        self,
        chunks: Iterable[ChunkLike],
        *,
        source_prefix: str = "",
        keep_sources: Iterable[str] = (),
    ) -> WriteReport:
        """The same, and delete every other chunk (of sources that start with `source_prefix`).

        Chunks of `keep_sources` stay. One step for readers: the old content or the new one.
        """
        return self._write(chunks, source_prefix, keep_sources)

    def drop(self) -> None:
        """Remove the collection."""
        self._collections.drop(self._write_name, token=self._token)

    def _searched(
        self,
        info: CollectionInfo,
        texts: Sequence[str],
        k: int,
        mode: SearchMode,
        where: Mapping[str, Any] | None,
    ) -> list[Hits]:
        if not texts:
            return []
        if mode == "keyword":
            queries = [Query(text) for text in texts]
        else:
            vectors = self._llm.embed(texts, model=info.embed_model)
            queries = [Query(text, vector) for text, vector in zip(texts, vectors, strict=True)]
        return self._collections.search(info.name, queries, k=k, mode=mode, where=where)

    def _write(
        self,
        chunks: Iterable[ChunkLike],
        complete_prefix: str | None,
        keep_sources: Iterable[str] = (),
    ) -> WriteReport:
        given = [_chunk(chunk, n) for n, chunk in enumerate(chunks)]
        named = {chunk.chunk_id for chunk in given if chunk.chunk_id}
        whole = identified(self._write_name, given)
        ids = {chunk.chunk_id for chunk in whole}
        if len(ids) < len(whole):
            raise VectorsError(f"Collection {self.name!r}: a chunk_id was given twice.")
        is_complete = complete_prefix is not None
        there = self._collections.content_hashes(
            self._write_name,
            source_prefix=complete_prefix or "",
            chunk_ids=None if is_complete else ids,
        )
        changed = [c for c in whole if there.get(c.chunk_id) != c.content_hash]
        # An id of our own is made of the text, so that a known id has its vector already.
        new = [c for c in changed if c.chunk_id not in there or c.chunk_id in named]
        moved = [c for c in changed if c.chunk_id in there and c.chunk_id not in named]
        gone = set(there) - ids if is_complete else set[str]()
        for uri in keep_sources:
            gone -= set(self._collections.content_hashes(self._write_name, source_prefix=uri))
        self._collections.write(
            self._write_name,
            new,
            self._embedded(new),
            embed_model=self._llm.embed_model,
            moved=moved,
            delete=gone,
            token=self._token,
        )
        return WriteReport(len(whole), len(new), len(whole) - len(changed), len(gone))

    def _embedded(self, chunks: Sequence[Chunk]) -> Vectors:
        if not chunks:
            return np.empty((0, 0), dtype=np.float32)
        return self._llm.embed([chunk.text for chunk in chunks])


def _chunk(given: ChunkLike, position: int) -> Chunk:
    if isinstance(given, Chunk):
        return given
    if isinstance(given, str):
        return Chunk(given, position=position)
    if not str(given.get("text") or "").strip():
        raise ContractError(f"Chunk {position} has no text.", cure="Give it a 'text'.")
    properties = {str(name): value for name, value in given.items() if name != "text"}
    return Chunk(str(given["text"]), position=position, properties=properties)


def _series(found: Sequence[Hits], index: pd.Index) -> pd.Series:
    # One by one: pandas would take a list of tuples apart.
    values = np.empty(len(found), dtype=object)
    for number, hits in enumerate(found):
        values[number] = hits
    return pd.Series(values, index=index, name="hits")
