"""`run.lake`: the lake as a notebook sees it, `data/` in production and `scratch/` in JupyterLab."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from millrace.errors import ContractError
from millrace.lake.base import Lake
from millrace.lake.frames import decode_frame, encode_frame
from millrace.lake.manifest import SUFFIX, Manifest, Writer, fetch, publish
from millrace.vectors.base import Hits

DATA = "data/"
SCRATCH = "scratch/"
RAW = "data/raw/"


class RunLake:
    """Keys are relative to `data/`; {data_date}, {generation}, {process}, {stream} are filled in.

    Interactive runs write under `scratch/` and read there first.
    """

    def __init__(
        self, lake: Lake, writer: Writer, names: Mapping[str, object], *, interactive: bool
    ) -> None:
        self._lake = lake
        self._writer = writer
        self._names = names
        self._write_root = SCRATCH if interactive else DATA
        self._read_roots = (SCRATCH, DATA, RAW) if interactive else (DATA, RAW)

    def read_frame(self, key: str, *, delimiter: str | None = None) -> pd.DataFrame:
        """The rows of a .parquet, .csv, .tsv, .jsonl or .json object.

        Raises ObjectNotFound naming near matches, LakeError where the bytes do not fit.
        """
        return decode_frame(key, self.read_bytes(key), delimiter=delimiter)

    def read_bytes(self, key: str) -> bytes:
        """The object's bytes, checked against its manifest where it has one."""
        return fetch(self._lake, self._found(key))

    def read_text(self, key: str) -> str:
        """The object as UTF-8 text."""
        return self.read_bytes(key).decode("utf-8-sig")

    def exists(self, key: str) -> bool:
        """Whether `read_bytes` would find it."""
        return any(self._has(root + self._filled(key)) for root in self._read_roots)

    def list(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, in order, without manifests."""
        filled = self._filled(prefix)
        return sorted(
            {
                entry.key.removeprefix(root)
                for root in self._read_roots
                if root != RAW  # its keys are among those of data/
                for entry in self._lake.list(root + filled)
                if not entry.key.endswith(SUFFIX)
            }
        )

    def write_frame(self, frame: pd.DataFrame, key: str) -> Manifest:
        """Publish the rows as a .parquet, .csv, .tsv, .jsonl or .json object, without the index.

        Columns of search hits are written as their text, beside `<column>_chunk_ids`.
        Raises StaleFence when another attempt has taken the run over.
        """
        data = encode_frame(key, _plain(frame))
        return self._publish(key, data, rows=len(frame))

    def write_bytes(self, data: bytes, key: str) -> Manifest:
        """Publish bytes; readers see the old object or this one, never half."""
        return self._publish(key, data)

    def write_text(self, text: str, key: str) -> Manifest:
        """Publish text as UTF-8."""
        return self._publish(key, text.encode())

    def uri(self, key: str) -> str:
        """Where a key's object lies, for a person to open; keys as in a Manifest work too."""
        return self._lake.uri(key if key.startswith(self._write_root) else self._found(key))

    def _publish(self, key: str, data: bytes, *, rows: int | None = None) -> Manifest:
        full = self._write_root + self._filled(key)
        return publish(self._lake, full, data, writer=self._writer, rows=rows)

    def _found(self, key: str) -> str:
        candidates = [root + self._filled(key) for root in self._read_roots]
        for candidate in candidates:
            if self._has(candidate):
                return candidate
        # Nothing there: the lake's own error names what lies near it.
        self._lake.open_read(DATA + self._filled(key)).close()
        return DATA + self._filled(key)

    def _has(self, key: str) -> bool:
        return self._lake.exists(key + SUFFIX) or self._lake.exists(key)

    def _filled(self, key: str) -> str:
        try:
            return key.format_map(self._names)
        except (KeyError, ValueError, AttributeError, IndexError) as exc:
            raise ContractError(
                f"Lake key {key!r} names something unknown: {exc}.",
                cure=f"In braces there may stand: {', '.join(self._names)}.",
            ) from exc


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Hits as text and ids; whatever else the frame holds stays."""
    if not frame.columns.is_unique:
        raise ContractError(
            f"The frame has two columns of one name: {', '.join(map(str, frame.columns))}.",
            cure="Rename one of them.",
        )
    found = [name for name in frame.columns if _holds_hits(frame[name])]
    texts = {name: [str(hits) for hits in frame[name]] for name in found}
    ids = {f"{name}_chunk_ids": [hits.chunk_ids for hits in frame[name]] for name in found}
    return frame.assign(**texts, **ids)


def _holds_hits(column: pd.Series) -> bool:
    return len(column) > 0 and all(isinstance(value, Hits) for value in column)
