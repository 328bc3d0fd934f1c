"""Manifests: what makes an output visible, written last.

An output `data/x.parquet` of a fenced run is three things, in the order they are written:

1. `versions/data/x.parquet/g1-f3-<sha256>.parquet`: the bytes, immutable, with generation, fence
   and the first digits of their sha256 in the key;
2. `data/x.parquet.manifest.json`: the pointer to 1, swung by compare-and-swap and only forwards,
   so that a stale attempt cannot replace a newer one's output wherever it was stopped;
3. `data/x.parquet`: the same bytes once more (a hard link in a local lake) for people and other
   programs. `fetch` goes by the manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from millrace.errors import LakeError, ObjectNotFound, StaleFence
from millrace.lake.base import Lake, checked_key

SUFFIX = ".manifest.json"


@dataclass(frozen=True)
class Manifest:
    """One published output. `rows` is None where the object is no frame."""

    key: str
    object_key: str
    sha256: str
    size_bytes: int
    rows: int | None
    run_id: str
    generation: int
    fence: int
    written_at: str

    @property
    def age(self) -> tuple[int, int]:
        """What orders the writers of a key: later generation, then higher fence."""
        return self.generation, self.fence


@dataclass(frozen=True)
class Writer:
    """Who publishes: a run's id, generation and fence, and how to assert that fence.

    `assert_fence` raises StaleFence when another attempt has taken over. Interactive runs have
    fence 0 and nothing to assert.
    """

    run_id: str
    generation: int
    fence: int
    assert_fence: Callable[[], None]


def publish(
    lake: Lake, key: str, data: bytes, *, writer: Writer, rows: int | None = None
) -> Manifest:
    """Write an output so that readers see the old one or the new one, never half.

    Raises StaleFence when another attempt has taken the run over or a later one has published.
    """
    object_key = _object_key(key, data, writer)
    written = lake.write_bytes(object_key, data)
    written_at = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(
        key,
        object_key,
        written.sha256,
        written.size_bytes,
        rows,
        writer.run_id,
        writer.generation,
        writer.fence,
        written_at,
    )
    _swing(lake, manifest, writer.assert_fence)
    _show(lake, key)
    _drop_superseded(lake, manifest)
    return manifest


def read_manifest(lake: Lake, key: str) -> Manifest | None:
    """The manifest of an output; None for a plain object that nobody published."""
    found = lake.read_version(key + SUFFIX)
    return _parsed(key, found[0]) if found else None


def fetch(lake: Lake, key: str) -> bytes:
    """The bytes of an output by its manifest, checked against its sha256, or of a plain object.

    Raises ObjectNotFound, and LakeError when the bytes are not those that were published.
    """
    manifest = read_manifest(lake, key)
    if manifest is None:
        return lake.read_bytes(key)
    try:
        data = lake.read_bytes(manifest.object_key)
    except ObjectNotFound:
        newer = read_manifest(lake, key)
        if newer is None or newer == manifest:
            raise
        manifest, data = newer, lake.read_bytes(newer.object_key)
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise LakeError(
            f"Lake key {key!r}: its bytes are not those that run {manifest.run_id} published.",
            cure=f"Run that process again, or delete {key + SUFFIX} to read the file as it is.",
        )
    return data


def _object_key(key: str, data: bytes, writer: Writer) -> str:
    suffix = PurePosixPath(checked_key(key)).suffix
    digits = hashlib.sha256(data).hexdigest()[:8]
    return f"versions/{key}/g{writer.generation}-f{writer.fence}-{digits}{suffix}"


def _swing(lake: Lake, manifest: Manifest, assert_fence: Callable[[], None]) -> None:
    pointer = manifest.key + SUFFIX
    content = json.dumps(asdict(manifest), indent=2, sort_keys=True).encode()
    while True:
        found = lake.read_version(pointer)
        current = _parsed(manifest.key, found[0]) if found else None
        if current and current.age > manifest.age:
            raise StaleFence(
                f"Lake key {manifest.key!r} was published by generation {current.generation}, "
                f"fence {current.fence}; this is generation {manifest.generation}, "
                f"fence {manifest.fence}: nothing was replaced."
            )
        assert_fence()
        if lake.swap(pointer, content, expected=found[1] if found else None):
            return


def _show(lake: Lake, key: str) -> None:
    # Two writers may pass here at once: whoever copies last looks at the pointer again.
    shown: Manifest | None = None
    while (current := read_manifest(lake, key)) is not None and current != shown:
        lake.copy(current.object_key, key)
        shown = current


def _drop_superseded(lake: Lake, manifest: Manifest) -> None:
    """Delete what this attempt and earlier ones of the same generation wrote before."""
    folder = f"versions/{manifest.key}/g{manifest.generation}-f"
    for entry in list(lake.list(folder)):
        fence = entry.key.removeprefix(folder).partition("-")[0]
        is_older = fence.isdigit() and int(fence) <= manifest.fence
        if is_older and entry.key != manifest.object_key:
            lake.delete(entry.key)


def _parsed(key: str, content: bytes) -> Manifest:
    try:
        return Manifest(**json.loads(content))
    except (ValueError, TypeError) as exc:
        raise LakeError(
            f"Lake key {key + SUFFIX!r} is no manifest: {exc}.",
            cure="Delete it and run the process that writes it again.",
        ) from exc
