"""`run.ingest()`: a source_file row's documents, read, cut and embedded into a collection."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.errors import ContractError, LakeError
from millrace.model import SourceFile
from millrace.notebook.chunking import split_text
from millrace.notebook.collection import RunCollection
from millrace.notebook.readers import Part, read_parts, suffixes
from millrace.notebook.runlake import RunLake
from millrace.vectors.base import Chunk

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did. `source_rows` counts rows, pages or whole documents."""

    files: int
    source_rows: int
    chunks: int
    embedded: int
    unchanged: int
    deleted: int
    failed: Mapping[str, str] = field(default_factory=dict)
    """Key of a document that could not be read -> why. What was known of it stays searchable."""


def ingest(
    lake: RunLake, collection: RunCollection, source: SourceFile, *, text: str | None = None
) -> IngestReport:
    """Make the collection hold what the source's documents hold now.

    Only texts that are new are embedded. What is no longer there is deleted, in the same step.
    Raises LakeError when there is no document, or not one that can be read.
    """
    keys = _documents(lake, source)
    chunks: list[Chunk] = []
    failed: dict[str, str] = {}
    source_rows = 0
    for key in keys:
        try:
            parts = list(read_parts(lake.read_bytes(key), source, text))
        except ContractError:
            raise
        except Exception as exc:  # noqa: BLE001 - a broken document can break its parser anyhow
            failed[key] = f"{type(exc).__name__}: {exc}"
            logger.warning("A document could not be read: %s", key, extra={"action": "ingest"})
            continue
        source_rows += len(parts)
        chunks += _chunks(key, parts, source)
    if len(failed) == len(keys):
        key, reason = next(iter(failed.items()))
        raise LakeError(f"No document of {source.source_file!r} can be read; {key}: {reason}")
    written = collection.replace(chunks, source_prefix=source.lake_prefix, keep_sources=failed)
    return IngestReport(
        len(keys), source_rows, written.chunks, written.embedded, written.unchanged,
        written.deleted, failed,
    )  # fmt: skip


def _documents(lake: RunLake, source: SourceFile) -> list[str]:
    """The keys to read. None at all is an error and never a reason to delete."""
    listed = lake.list(source.lake_prefix)
    endings = suffixes(source.file_type)
    keys = [k for k in listed if k == source.lake_prefix or k.lower().endswith(endings)]
    if not keys:
        raise LakeError(
            f"Source file {source.source_file!r}: no {source.file_type} document lies under "
            f"data/{source.lake_prefix} in the lake.",
            cure="Put it there, or correct control.source_file.lake_prefix.",
        )
    return keys


def _chunks(key: str, parts: list[Part], source: SourceFile) -> list[Chunk]:
    texts = [
        (text, part)
        for part in parts
        for text in split_text(
            part.text,
            chunk_size=source.chunk_size,
            chunk_overlap=source.chunk_overlap,
            markdown=source.file_type == "md",
        )
    ]
    return [
        Chunk(text, key, position, part.page, part.row, part.properties)
        for position, (text, part) in enumerate(texts)
    ]
