"""Looks through everything a stack has written, for what it should not have written."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow.parquet
from psycopg2 import sql

Needles = Mapping[str, Sequence[bytes]]
"""What is looked for: its name, and the bytes that betray it."""

ZLIB_HEADS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


@dataclass(frozen=True, order=True)
class Finding:
    """One thing in one place."""

    needle: str
    place: str


def in_files(root: Path, needles: Needles, *, skip: Sequence[str] = ()) -> set[Finding]:
    """Findings in every file below `root`; a place is a path relative to it.

    `skip` names files and folders (relative) that are not looked into.
    """
    found = set()
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root).as_posix()
        if path.is_file() and not any(place == s or place.startswith(f"{s}/") for s in skip):
            found |= {Finding(n, place) for data in _contents(path) for n in _hits(data, needles)}
    return found


def in_database(url: str, needles: Needles) -> set[Finding]:
    """Findings in every column of every table, whatever its type; a place is `table.column`."""
    found = set()
    with closing(psycopg2.connect(url)) as connection:
        for table, columns in _tables(connection):
            for row in _rows(connection, table):
                for column, value in zip(columns, row, strict=True):
                    place = f"{'.'.join(table)}.{column}"
                    found |= {Finding(n, place) for n in _hits(_as_bytes(value), needles)}
    return found


def _hits(data: bytes, needles: Needles) -> Iterator[str]:
    for name, spellings in needles.items():
        if any(spelling in data for spelling in spellings):
            yield name


def _contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what is packed in them."""
    data = path.read_bytes()
    yield data
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    if data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    if data.startswith(b"PAR1"):
        yield repr(pyarrow.parquet.read_table(io.BytesIO(data)).to_pydict()).encode()


def _tables(connection: Any) -> list[tuple[tuple[str, str], list[str]]]:
    cursor = connection.cursor()
    cursor.execute(
        "SELECT table_schema, table_name, array_agg(column_name::text ORDER BY ordinal_position)"
        " FROM information_schema.columns JOIN information_schema.tables"
        " USING (table_schema, table_name) WHERE table_type = 'BASE TABLE'"
        " AND table_schema NOT IN ('pg_catalog', 'information_schema') GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return [((schema, table), columns) for schema, table, columns in cursor.fetchall()]


def _rows(connection: Any, table: tuple[str, str]) -> Iterator[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(*table)))
        yield from cursor


def _as_bytes(value: Any) -> bytes:
    if not isinstance(value, memoryview | bytes):
        return str(value).encode()
    data = bytes(value)
    return data + zlib.decompress(data) if data.startswith(ZLIB_HEADS) else data
