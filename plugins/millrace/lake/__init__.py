"""The lake: objects by key behind one URL. This is the one place that names the adapters."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from millrace.errors import LakeError
from millrace.lake.base import Lake, ObjectEntry, ObjectInfo
from millrace.lake.local import LocalLake

__all__ = ["Lake", "ObjectEntry", "ObjectInfo", "open_lake"]


def open_lake(url: str) -> Lake:
    """The lake behind a URL: `file:///folder` is a local folder, made on the first write.

    Raises LakeError for any other URL.
    """
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise LakeError(
            f"Cannot open the lake {url!r}: only file:///absolute/folder is supported.",
            cure="Set MILLRACE_LAKE_URL to such a URL.",
        )
    return LocalLake(path)
