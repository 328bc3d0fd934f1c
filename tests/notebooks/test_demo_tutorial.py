"""The tutorial, the README, the example and the notebook show one and the same stream."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_inserts_are_the_same_everywhere() -> None:
    example = (ROOT / "sql" / "examples" / "tutorial.sql").read_text("utf-8")
    statements = example.partition("\n")[2]
    assert _blocks(README, "sql") == [statements]
    assert _blocks(TUTORIAL, "sql")[0] == statements


def test_the_tutorial_shows_the_cells_of_the_notebook() -> None:
    notebook = json.loads((ROOT / "notebooks" / "templates" / "hello.ipynb").read_text("utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert [block.rstrip("\n") for block in _blocks(TUTORIAL, "python")] == cells
