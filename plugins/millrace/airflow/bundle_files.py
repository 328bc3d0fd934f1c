"""Files of the control bundle: per stream a JSON of its rows and a copy of dags/stream.py.

Pure file work below one folder; knows neither Airflow nor the database.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

MTIME_MARGIN_S = 3.0
"""A changed DAG file is dated this far ahead.

The processor compares a file's mtime with the time it collected the last parse; without the
margin an update that lands during a slow parse is taken for old and lost.
"""
HOUSEKEEPING = "housekeeping.py"
CONTENT = ".content"
"""A line with the SHA-256 of what follows, then the content as JSON."""
SEAL = ".seal"
"""SHA-256 of all other files of a version's folder."""


def file_stem(stream_name: str) -> str:
    """A module name for any stream name: readable, unique also where case is ignored."""
    readable = re.sub(r"\W+", "_", stream_name)[:60]
    return f"stream_{readable}_{hashlib.sha256(stream_name.encode()).hexdigest()[:8]}"


def lay_out(folder: Path, content: Mapping[str, Any], templates: Path) -> int:
    """Bring `folder` to `content`, touching only what changed; how many streams changed.

    JSON files come first and DAG files last, so that a parse in between sees a whole pair.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = dict(_stream_files(content))
    changed = {stem for stem, text in wanted.items() if _write(folder / f"{stem}.json", text)}
    write_content(folder, content)
    stub = (templates / "stream.py").read_text()
    for stem in wanted:
        _write_dag(folder / f"{stem}.py", stub, force=stem in changed)
    _write_dag(folder / HOUSEKEEPING, (templates / HOUSEKEEPING).read_text(), force=False)
    _remove_vanished(folder, set(wanted))
    return len(changed)


def lay_out_version(
    versions: Path, version: str, content: Mapping[str, Any], templates: Path
) -> Path:
    """A whole folder for one version, appearing at once, also where two processes make it."""
    target = versions / version
    if is_whole(target):
        return target
    scratch = versions / f".{version}.{os.getpid()}.{time.monotonic_ns()}"
    lay_out(scratch, content, templates)
    (scratch / SEAL).write_text(_fingerprint(scratch))
    _set_aside(target)
    try:
        scratch.rename(target)
    except OSError:
        # Another process was first; its folder has the same content.
        shutil.rmtree(scratch, ignore_errors=True)
        if not target.is_dir():
            raise
    return target


def is_whole(folder: Path) -> bool:
    """Whether a version's folder is there and holds, byte for byte, what was laid out."""
    try:
        return (folder / SEAL).read_text() == _fingerprint(folder)
    except (OSError, UnicodeError):
        return False


def write_content(folder: Path, content: Mapping[str, Any]) -> None:
    """Keep the content itself beside what was laid out from it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, sort_keys=True)
    _write(folder / CONTENT, f"{_digest(text)}\n{text}")


def read_content(folder: Path) -> dict[str, Any] | None:
    """The content a folder was laid out from; None where it is absent or damaged."""
    try:
        digest, _, text = (folder / CONTENT).read_text().partition("\n")
    except (OSError, UnicodeError):
        return None
    return dict(json.loads(text)) if digest == _digest(text) else None


def prune_versions(versions: Path, *, keep: int, older_than_s: float = 3600.0) -> int:
    """Drop the oldest version folders; any of them can be laid out again from its snapshot."""
    folders = sorted(
        (p for p in versions.glob("*") if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True
    )
    limit = time.time() - older_than_s
    stale = [p for p in folders[keep:] if p.stat().st_mtime < limit]
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)
    return len(stale)


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.name != SEAL):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _set_aside(folder: Path) -> None:
    """Take a damaged folder out of the way."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.damaged")
    with suppress(OSError):
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _stream_files(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, entry in content["streams"].items():
        yield file_stem(name), json.dumps(entry, sort_keys=True, indent=1)


def _write(path: Path, text: str) -> bool:
    # Bytes: a damaged file need not be text.
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(text)
    scratch.replace(path)
    return True


def _write_dag(path: Path, text: str, *, force: bool) -> None:
    if _write(path, text) or force:
        ahead = time.time() + MTIME_MARGIN_S
        os.utime(path, (ahead, ahead))


def _remove_vanished(folder: Path, stems: set[str]) -> None:
    for path in folder.glob("stream_*.*"):
        if path.stem not in stems:
            path.unlink(missing_ok=True)
