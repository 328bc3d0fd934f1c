"""The port to the lake: objects by key, written whole or not at all.

Sync, like control and the vectors. Keys are relative paths with forward slashes; frames
(frames.py) and manifests (manifest.py) stand on top of this port, not in each adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from millrace.errors import LakeError

MAX_KEY_BYTES = 900
MAX_SEGMENT_BYTES = 240


@dataclass(frozen=True)
class ObjectInfo:
    """What was written: its key, where it lies, sha256 of its bytes (hex) and its size."""

    key: str
    uri: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ObjectEntry:
    """One line of a listing; `modified_at` is in UTC."""

    key: str
    size_bytes: int
    modified_at: datetime


class Lake(Protocol):
    """Objects by key. Every method raises LakeError for a malformed key or a failed operation."""

    url: str

    def uri(self, key: str) -> str:
        """Where the object lies, or would lie."""
        ...

    def write_bytes(self, key: str, data: bytes, *, create_only: bool = False) -> ObjectInfo:
        """Write an object atomically and durably; `create_only` refuses to replace one."""
        ...

    def write_stream(
        self, key: str, parts: Iterable[bytes], *, create_only: bool = False
    ) -> ObjectInfo:
        """The same for an object too big for memory, part by part."""
        ...

    def swap(self, key: str, data: bytes, *, expected: str | None) -> bool:
        """Replace the object only if its version is still `expected` (None: absent).

        False, with nothing written, where somebody else was faster. A swap paused at any point
        and continued later never replaces what was written meanwhile.
        """
        ...

    def read_bytes(self, key: str) -> bytes:
        """The whole object; ObjectNotFound names the key and its near matches."""
        ...

    def read_version(self, key: str) -> tuple[bytes, str] | None:
        """The object and its version, for `swap`; None where there is no object."""
        ...

    def open_read(self, key: str) -> BinaryIO:
        """The object as a binary stream for the caller to close; ObjectNotFound as above."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Make `target` the same bytes as `source`, atomically, replacing what was there."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object under that key."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectEntry]:
        """The objects whose keys start with `prefix`, in order of key."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""
        ...


def checked_key(key: str) -> str:
    """The key itself, or LakeError saying which rule it breaks."""
    segments = key.split("/")
    rules = {
        "is empty": not key,
        "starts with a slash; keys are relative": key.startswith("/"),
        "ends with a slash; it must name an object": key.endswith("/"),
        "has an empty, '.' or '..' part": any(part in ("", ".", "..") for part in segments),
        "starts with a dot; such names are the lake's own": key.startswith("."),
        "has a backslash or a control character": any(c == "\\" or ord(c) < 32 for c in key),
        "is too long": len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES
        or any(len(part.encode("utf-8", "surrogatepass")) > MAX_SEGMENT_BYTES for part in segments),
    }
    broken = next((rule for rule, applies in rules.items() if applies), None)
    if broken:
        raise LakeError(f"Lake key {key[:200]!r} {broken}.", cure="Write it like raw/orders.csv.")
    return key
