"""The lake as a local folder: `file:///path`.

Plain pathlib rather than obstore's LocalStore: that one renames without fsync, so that a power
cut could leave a manifest that points at an empty object.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from millrace.errors import LakeError, ObjectNotFound
from millrace.lake.base import ObjectEntry, ObjectInfo, checked_key

# Inside the lake so that a rename stays on one file system; keys may not start with a dot.
STAGING = ".staging"
LOCKS = ".locks"


class LocalLake:
    """A folder as a lake. What is in it are ordinary files for anybody to open."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()

    def uri(self, key: str) -> str:
        """The object's file:// URI."""
        return self._path(key).as_uri()

    def write_bytes(self, key: str, data: bytes, *, create_only: bool = False) -> ObjectInfo:
        """Write an object atomically and durably."""
        return self.write_stream(key, [data], create_only=create_only)

    def write_stream(
        self, key: str, parts: Iterable[bytes], *, create_only: bool = False
    ) -> ObjectInfo:
        """Write an object part by part; it appears when it is whole."""
        path = self._path(key)
        with _translated(key, self.root), self._staged(path) as staged:
            sha256, size_bytes = _fill(staged, parts)
            if create_only:
                os.link(staged, path)
            else:
                staged.replace(path)
            _sync_folder(path.parent)
        return ObjectInfo(key, path.as_uri(), sha256, size_bytes)

    def swap(self, key: str, data: bytes, *, expected: str | None) -> bool:
        """Compare the object's version and replace it, as one step among all processes."""
        path = self._path(key)
        with _translated(key, self.root), self._staged(path) as staged:
            _fill(staged, [data])
            with self._lock(key):
                current = self.read_version(key)
                if (current[1] if current else None) != expected:
                    return False
                staged.replace(path)
            _sync_folder(path.parent)
        return True

    def read_bytes(self, key: str) -> bytes:
        """The whole object."""
        with self.open_read(key) as stream:
            return stream.read()

    def read_version(self, key: str) -> tuple[bytes, str] | None:
        """The object and the sha256 of its bytes, which is its version."""
        try:
            data = self.read_bytes(key)
        except ObjectNotFound:
            return None
        return data, hashlib.sha256(data).hexdigest()

    def open_read(self, key: str) -> BinaryIO:
        """The object as a binary stream."""
        path = self._path(key)
        try:
            return path.open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
            raise self._not_found(key) from exc
        except OSError as exc:
            raise _lake_error(key, self.root, exc) from exc

    def copy(self, source: str, target: str) -> None:
        """A hard link where the file system has them (no second copy of the bytes)."""
        source_path, target_path = self._path(source), self._path(target)
        if not source_path.is_file():
            raise self._not_found(source)
        with _translated(target, self.root), self._staged(target_path) as staged:
            staged.unlink()
            try:
                os.link(source_path, staged)
            except OSError:
                shutil.copyfile(source_path, staged)
            staged.replace(target_path)

    def exists(self, key: str) -> bool:
        """Whether there is a file."""
        return self._path(key).is_file()

    def list(self, prefix: str = "") -> Iterator[ObjectEntry]:
        """The files whose keys start with `prefix`, in order of key."""
        folder = prefix.rpartition("/")[0]
        start = self._path(folder) if folder else self.root
        for path in sorted(start.rglob("*"), key=lambda p: p.relative_to(self.root).as_posix()):
            key = path.relative_to(self.root).as_posix()
            if key.startswith(prefix) and not key.startswith(".") and path.is_file():
                stat = path.stat()
                modified_at = datetime.fromtimestamp(stat.st_mtime, UTC)
                yield ObjectEntry(key, stat.st_size, modified_at)

    def delete(self, key: str) -> None:
        """Remove the file; its folder stays."""
        with _translated(key, self.root):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    @contextlib.contextmanager
    def _staged(self, target: Path) -> Iterator[Path]:
        staging = self.root / STAGING
        staging.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=staging)
        os.close(handle)
        staged = Path(name)
        staged.chmod(0o644)
        try:
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        locks = self.root / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        # 256 files for all keys: two keys may share one, which only makes them wait.
        with (locks / hashlib.sha256(key.encode()).hexdigest()[:2]).open("wb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _not_found(self, key: str) -> ObjectNotFound:
        folder = key.rpartition("/")[0]
        beside = [e.key for e in self.list(f"{folder}/" if folder else "")]
        near = difflib.get_close_matches(key, beside, n=3, cutoff=0.6) or beside[:3]
        cure = f"Near it: {', '.join(near)}." if near else f"Nothing lies under {folder or '/'}."
        return ObjectNotFound(f"No object {key!r} in the lake {self.url}.", cure=cure)


def _fill(path: Path, parts: Iterable[bytes]) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("wb") as stream:
        for part in parts:
            stream.write(part)
            digest.update(part)
            size_bytes += len(part)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest(), size_bytes


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _translated(key: str, root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise _lake_error(key, root, exc) from exc


def _lake_error(key: str, root: Path, exc: OSError) -> LakeError:
    cures = {
        errno.ENOSPC: f"The disk of {root} is full: free some space and run again.",
        errno.EDQUOT: f"The disk quota at {root} is used up: free some space and run again.",
        errno.EACCES: f"Give this user the right to read and write in {root}.",
        errno.EROFS: f"{root} is mounted read-only: set MILLRACE_LAKE_URL to another folder.",
        errno.EEXIST: "It was to be created, not replaced: choose another key.",
        errno.ENOTDIR: "A part of the key is an object already: choose another key.",
        errno.EISDIR: "There are objects below this key: choose another key.",
    }
    message = f"Lake key {key!r}: {exc.strerror or exc}."
    return LakeError(message, cure=cures.get(exc.errno or 0))
