"""The blocks of code in a page of documentation, in their order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCED = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^\n|\A)(?P<text>(?:^    .*\n|^\n(?=    ))+)", re.MULTILINE)
_SQL_WORDS = ("BEGIN", "INSERT", "UPDATE", "DELETE", "SELECT")


@dataclass(frozen=True)
class Block:
    """One block: what a reader copies, and the heading it stands under."""

    section: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Every block of the page, fenced or indented."""
    found = []
    for section in re.split(r"^(?=#+ )", page.read_text("utf-8"), flags=re.MULTILINE):
        title = section.partition("\n")[0].lstrip("# ")
        found += [Block(title, m["language"], m["text"]) for m in _FENCED.finditer(section)]
        for match in _INDENTED.finditer(_FENCED.sub("", section)):
            text = re.sub(r"^    ", "", match["text"], flags=re.MULTILINE).strip("\n")
            found.append(Block(title, _language(text), text))
    return found


def _language(text: str) -> str:
    return "sql" if text.startswith(_SQL_WORDS) else "shell"
