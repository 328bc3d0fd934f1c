"""The named statements of a .sql file: `-- name: x`, comment lines, the SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


def load_statements(path: Path) -> Mapping[str, str]:
    """name -> SQL, without the file's own comment lines before it."""
    parts = re.split(r"^-- name: (\w+)\n", path.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (text.strip() for text in parts[1::2]), strict=True))
