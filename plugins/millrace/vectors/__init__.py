"""The vectors: collections behind one URL. This is the one place that names the adapters."""

from __future__ import annotations

from urllib.parse import urlsplit

from millrace.errors import VectorsError
from millrace.vectors.base import Chunk, CollectionInfo, Collections, Hit, Hits, Query
from millrace.vectors.pgvector import PgvectorCollections

__all__ = ["Chunk", "CollectionInfo", "Collections", "Hit", "Hits", "Query", "open_collections"]


def open_collections(url: str) -> Collections:
    """The collections behind a URL: `postgresql://...` is a Postgres with pgvector.

    Raises VectorsError for any other URL. Nothing is connected yet.
    """
    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise VectorsError(
            f"Cannot open the vectors at a {urlsplit(url).scheme or 'schemeless'} URL.",
            cure="Set MILLRACE_VECTORS_URL to postgresql://...",
        )
    return PgvectorCollections(url)
