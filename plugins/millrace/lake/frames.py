"""Frames to bytes and back, by the suffix of the key: parquet, csv, tsv, jsonl, json."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import pandas as pd

from millrace.errors import LakeError


def _from_csv(data: bytes, delimiter: str | None) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(data), sep=delimiter or ",")


def _from_tsv(data: bytes, delimiter: str | None) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(data), sep=delimiter or "\t")


def _from_jsonl(data: bytes, _: str | None) -> pd.DataFrame:
    return pd.read_json(io.BytesIO(data), lines=True, dtype=False)


def _from_json(data: bytes, _: str | None) -> pd.DataFrame:
    return pd.read_json(io.BytesIO(data), dtype=False)


def _from_parquet(data: bytes, _: str | None) -> pd.DataFrame:
    import pyarrow

    # Not a BytesIO: pyarrow's reading threads would ask for the interpreter while it ends, and
    # abort the process (1 in 40 on a busy machine).
    return pd.read_parquet(pyarrow.BufferReader(data), engine="pyarrow")


def _to_parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


READERS: Mapping[str, Callable[[bytes, str | None], pd.DataFrame]] = {
    ".parquet": _from_parquet,
    ".csv": _from_csv,
    ".tsv": _from_tsv,
    ".jsonl": _from_jsonl,
    ".json": _from_json,
}
WRITERS: Mapping[str, Callable[[pd.DataFrame], bytes]] = {
    ".parquet": _to_parquet,
    ".csv": lambda frame: frame.to_csv(index=False).encode(),
    ".tsv": lambda frame: frame.to_csv(index=False, sep="\t").encode(),
    ".jsonl": lambda frame: frame.to_json(orient="records", lines=True, force_ascii=False).encode(),
    ".json": lambda frame: frame.to_json(orient="records", force_ascii=False).encode(),
}


def decode_frame(key: str, data: bytes, *, delimiter: str | None = None) -> pd.DataFrame:
    """The object's rows; LakeError where the suffix is unknown or the bytes do not fit it."""
    reader = READERS.get(_suffix(key))
    if reader is None:
        raise _unknown_suffix(key, READERS)
    try:
        return reader(data, delimiter)
    except (ValueError, OSError) as exc:  # pandas' and pyarrow's parse errors are ValueErrors
        raise LakeError(f"Lake key {key!r} cannot be read as {_suffix(key)[1:]}: {exc}.") from exc


def encode_frame(key: str, frame: pd.DataFrame) -> bytes:
    """The rows as the bytes of an object, without the index; LakeError as above."""
    writer = WRITERS.get(_suffix(key))
    if writer is None:
        raise _unknown_suffix(key, WRITERS)
    try:
        return writer(frame)
    except (ValueError, TypeError, OSError) as exc:
        raise LakeError(
            f"The frame cannot be written to {key!r}: {exc}.",
            cure="Drop the column, or turn it into text or numbers.",
        ) from exc


def _suffix(key: str) -> str:
    return PurePosixPath(key).suffix.lower()


def _unknown_suffix(key: str, known: Mapping[str, object]) -> LakeError:
    names = ", ".join(sorted(known))
    return LakeError(f"Lake key {key!r} does not say its format.", cure=f"End it in {names}.")
