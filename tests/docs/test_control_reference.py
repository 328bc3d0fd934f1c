"""The reference of the control tables is what the database says."""

from __future__ import annotations

from pathlib import Path

from millrace.control.reference import control_tables_page
from tests.databases import execute

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "control-tables.md"


def test_the_page_is_current(database_url: str) -> None:
    assert PAGE.read_text() == control_tables_page(database_url), (
        "run python -m millrace.control.reference URL > docs/reference/control-tables.md"
    )


def test_the_page_has_every_table_and_view(database_url: str) -> None:
    names = execute(
        database_url,
        "SELECT schemaname || '.' || viewname FROM pg_views WHERE schemaname = 'cntl_af' "
        "UNION ALL SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname = 'control'",
    )
    text = PAGE.read_text()
    assert [name for (name,) in names if f"### {name}\n" not in text] == []
