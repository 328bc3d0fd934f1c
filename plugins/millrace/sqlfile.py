"""Loads named statements from .sql files, so that SQL is written as SQL.

A statement begins with `-- name: <name>` on a line of its own; the comment lines below it
describe it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_HEAD = re.compile(r"^-- name: (?P<name>[a-z_]+)$", re.MULTILINE)


def load_statements(path: Path) -> Mapping[str, str]:
    """The statements of a file by name, without their comments.

    Raises ValueError for a name that is given twice or has no statement or no description.
    """
    pieces = _HEAD.split(path.read_text(encoding="utf-8"))[1:]
    statements: dict[str, str] = {}
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        lines = body.strip().splitlines()
        text = "\n".join(line for line in lines if not line.startswith("--")).strip()
        if name in statements or not text or not lines[0].startswith("--"):
            raise ValueError(f"{path.name}: {name} is doubled, empty or not described")
        statements[name] = text
    return MappingProxyType(statements)
