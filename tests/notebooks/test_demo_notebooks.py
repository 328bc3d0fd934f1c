"""The demo's notebooks keep the contract, and its rows name notebooks and files that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import psycopg2
import pytest

from millrace.runner.declaration import declared_in

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(
    path
    for folder in ("demo", "templates")
    for path in (ROOT / "notebooks" / folder).glob("*.ipynb")
)


def _read(path: Path) -> Any:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {
        *("ingest_catalogue", "ingest_guide", "recommend", "report", "digest", "hello"),
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_carries_no_output(path: Path) -> None:
    notebook = _read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert notebook.cells[0].cell_type == "markdown"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_first_code_cell_declares_typed_parameters_with_defaults(path: Path) -> None:
    notebook = _read(path)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "parameters" in first.metadata.tags
    declaration = declared_in(notebook, shown=path.name)
    assert declaration.faults == ()
    assert {"run_id", "data_date"} <= set(declaration.parameters)
    assert not any(declared.is_required for declared in declaration.parameters.values())
    assert all(re.match(r"\w+: [\w |]+ = ", line) for line in first.source.splitlines())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_says_what_it_did(path: Path) -> None:
    assert "run.finish(" in _read(path).cells[-1].source


@pytest.fixture(scope="module")
def demo_rows(database_url: str) -> list[tuple[str, str]]:
    """(process_name, notebook_path) of the demo, loaded twice, of the examples, loaded once."""
    files = ["demo.sql", "demo.sql", "examples/tutorial.sql", "examples/existing_script.sql"]
    with psycopg2.connect(database_url) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for name in files:
                cursor.execute((ROOT / "sql" / name).read_text("utf-8"))
            cursor.execute("SELECT process_name, notebook_path FROM control.process")
            rows: list[tuple[str, str]] = cursor.fetchall()
    connection.close()
    return rows


def test_the_rows_name_notebooks_that_exist(demo_rows: list[tuple[str, str]]) -> None:
    names = {name for name, _ in demo_rows}
    assert {"ingest_catalogue", "recommend", "digest", "say_hello", "reviews_summary"} <= names
    missing = [path for _, path in demo_rows if not (ROOT / "notebooks" / path).is_file()]
    assert missing == []


def test_the_source_files_are_the_demos(
    demo_rows: list[tuple[str, str]], database_url: str
) -> None:
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT lake_prefix FROM control.source_file WHERE lake_prefix LIKE 'raw/demo/%%'"
        )
        prefixes = [prefix for (prefix,) in cursor.fetchall()]
    connection.close()
    data = ROOT / "notebooks" / "demo" / "data"
    assert len(prefixes) == 2
    assert all((data / Path(prefix).name).is_file() for prefix in prefixes)
