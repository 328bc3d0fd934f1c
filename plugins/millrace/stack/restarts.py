"""How often each part was started again, and how long to wait before the next time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
SETTLED_AFTER_S = 180.0
"""A part that lived this long has recovered: its next death is a first one again."""


@dataclass(frozen=True)
class Restarts:
    """What the supervisor knows of one part; times are seconds since the epoch."""

    count: int = 0
    in_a_row: int = 0
    due_at: float | None = None
    """When it is to be started again; None while it lives, as far as was seen."""


def noticed(known: Restarts, *, started_at: float, now: float) -> Restarts:
    """The part was found dead: when to start it again, later each time in a row."""
    if known.due_at is not None:
        return known
    in_a_row = 0 if now - started_at > SETTLED_AFTER_S else known.in_a_row
    pause_s = min(FIRST_PAUSE_S * 2**in_a_row, LONGEST_PAUSE_S)
    return replace(known, in_a_row=in_a_row, due_at=now + pause_s)


def started(known: Restarts) -> Restarts:
    """The part was started again."""
    return Restarts(known.count + 1, known.in_a_row + 1)


def read(home: Path) -> dict[str, Restarts]:
    """Part -> its restarts since the stack was last brought down; {} where nothing was written."""
    try:
        written = json.loads(_path(home).read_text())
        return {name: Restarts(**row) for name, row in written.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        # A half-written book after a power cut is an empty one.
        return {}


def write(home: Path, book: Mapping[str, Restarts]) -> None:
    """Keep the book for `millrace status`."""
    partial = _path(home).with_suffix(".partial")
    partial.write_text(json.dumps({name: asdict(row) for name, row in book.items()}))
    partial.replace(_path(home))


def forget(home: Path) -> None:
    """The stack goes down: the next one counts from zero."""
    _path(home).unlink(missing_ok=True)


def _path(home: Path) -> Path:
    return home / "run" / "restarts.json"
