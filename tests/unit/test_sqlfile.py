"""Named statements in .sql files."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.control.postgres import STATEMENTS
from millrace.sqlfile import load_statements


def test_statements_come_by_name_without_their_comments(tmp_path: Path) -> None:
    path = tmp_path / "q.sql"
    path.write_text(
        "-- A file.\n\n-- name: one\n-- Says one.\nSELECT 1\n\n-- name: two\n-- Two.\nSELECT\n2\n"
    )
    assert load_statements(path) == {"one": "SELECT 1", "two": "SELECT\n2"}


@pytest.mark.parametrize(
    "text",
    ["-- name: a\nSELECT 1", "-- name: a\n-- Empty.", "-- name: a\n-- A.\nx\n-- name: a\n-- A.\ny"],
)
def test_what_is_not_described_empty_or_doubled_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "q.sql").write_text(text)
    with pytest.raises(ValueError, match="doubled, empty or not described"):
        load_statements(tmp_path / "q.sql")


def test_every_statement_of_the_room_is_used() -> None:
    room = Path(__file__).parents[2] / "plugins" / "millrace" / "control"
    code = "".join(path.read_text() for path in room.glob("*.py"))
    assert [name for name in STATEMENTS if f'STATEMENTS["{name}"]' not in code] == []
