"""The port to the vectors: collections of chunks, searched by meaning and by words.

Sync. Vectors come in as `(n, dim) float32`; who makes them is not this room's business.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
SearchMode = Literal["vector", "keyword", "hybrid"]

_NAMESPACE = uuid.UUID("5e1d5b5e-9c2c-5d0b-8f3c-0d2f6a1b7c44")


@dataclass(frozen=True)
class Chunk:
    """A piece of a source document. `position` counts within the document, from 0."""

    text: str
    source_uri: str = ""
    position: int = 0
    page: int | None = None
    row: int | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    chunk_id: str = ""
    """Empty: `identified` gives it one."""

    @property
    def content_hash(self) -> str:
        """sha256 over all that is stored but the vector: equal hashes need no write."""
        place = [self.text, self.source_uri, self.position, self.page, self.row]
        canonical = json.dumps([*place, self.properties], sort_keys=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class CollectionInfo:
    """A collection as it stands (vectors.collection)."""

    name: str
    dim: int
    embed_model: str
    chunks: int


@dataclass(frozen=True)
class Query:
    """One search: its text for the words, its vector `(dim,) float32` for the meaning."""

    text: str
    vector: Vectors | None = None


@dataclass(frozen=True)
class Hit:
    """A chunk that was found. Higher scores are better; they compare within one search only."""

    chunk_id: str
    text: str
    score: float
    source_uri: str = ""
    position: int = 0
    page: int | None = None
    row: int | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The chunk's own title, name or id, else where it stands in its source."""
        for name in ("title", "name", "id"):
            if self.properties.get(name) not in (None, ""):
                return str(self.properties[name])
        source = self.source_uri.rpartition("/")[2] or self.chunk_id[:8]
        return f"{source} p. {self.page}" if self.page is not None else source


class Hits(tuple[Hit, ...]):
    """What one query found, best first. As text it is one block `[title] text` per chunk."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n\n".join(f"[{hit.title}] {hit.text}" for hit in self)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    @property
    def chunk_ids(self) -> list[str]:
        """The ids of the chunks, best first."""
        return [hit.chunk_id for hit in self]


class Collections(Protocol):
    """Named sets of chunks. Every method raises VectorsError naming the collection."""

    def prepare(self) -> None:
        """Make what collections need, as the owner of the place; again, it changes nothing."""
        ...

    def info(self, name: str) -> CollectionInfo | None:
        """The collection, or None."""
        ...

    def names(self) -> Sequence[str]:
        """All collections, in order of name."""
        ...

    def content_hashes(
        self, name: str, *, source_prefix: str = "", chunk_ids: Collection[str] | None = None
    ) -> Mapping[str, str]:
        """chunk_id -> content_hash of what is there; {} for an absent collection.

        Only sources that start with `source_prefix`, and only `chunk_ids` where they are given.
        """
        ...

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
        """Apply one change as a whole: readers see all of it or nothing.

        `chunks` (with `vectors`, one row each) are inserted or replaced; `moved` keep their
        vector and get new properties and places; `delete` names chunk ids. The first write makes
        the collection. With a run's `token` the change is committed under its fence, else
        StaleFence. VectorsError when the vectors' width or model is not the collection's.
        """
        ...

    def search(
        self,
        name: str,
        queries: Sequence[Query],
        *,
        k: int = 5,
        mode: SearchMode = "hybrid",
        where: Mapping[str, Any] | None = None,
    ) -> list[Hits]:
        """The best `k` chunks for each query, in one round trip.

        `where` holds property -> value, or -> list of allowed values; all must fit.
        """
        ...

    def drop(self, name: str, *, token: str | None = None) -> None:
        """Remove the collection; nothing happens where there is none."""
        ...


def identified(name: str, chunks: Sequence[Chunk]) -> list[Chunk]:
    """The chunks with their ids: uuid5 of collection, source, text, and which repetition it is.

    The same text keeps its id when what stands before it changes, so that it keeps its vector.
    """
    seen: dict[tuple[str, str], int] = {}
    result = []
    for chunk in chunks:
        place = (chunk.source_uri, chunk.text)
        repetition = seen[place] = seen.get(place, -1) + 1
        label = json.dumps([name, chunk.source_uri, repetition, chunk.text])
        chunk_id = chunk.chunk_id or str(uuid.uuid5(_NAMESPACE, label))
        result.append(
            Chunk(
                chunk.text,
                chunk.source_uri,
                chunk.position,
                chunk.page,
                chunk.row,
                chunk.properties,
                chunk_id,
            )
        )
    return result
