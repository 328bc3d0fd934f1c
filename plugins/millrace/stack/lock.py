"""Whose turn it is to start and stop parts: one `up`, `down` or restart at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(home: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the turn; `on_wait` is called once where somebody else has it."""
    with _path(home).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def exclusive_if_free(home: Path) -> Iterator[bool]:
    """Hold the turn if nobody has it; yields whether we do."""
    with _path(home).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _path(home: Path) -> Path:
    return home / "run" / "lock"
