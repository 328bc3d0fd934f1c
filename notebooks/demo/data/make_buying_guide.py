"""Lay guide.md out as buying_guide.pdf: the same bytes on every machine.

    python notebooks/demo/data/make_buying_guide.py [TARGET.pdf]

guide.md uses four marks only: `# ` title, `## ` section, `- ` list item, blank line between blocks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, SimpleDocTemplate

SOURCE = Path(__file__).with_name("guide.md")
TARGET = Path(__file__).with_name("buying_guide.pdf")
PINE = HexColor("#1f5c4d")

BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9.5, leading=13.5, spaceAfter=5)
ITEM = ParagraphStyle("item", BODY, leftIndent=10, bulletIndent=2, spaceAfter=2)
SECTION = ParagraphStyle(
    "section", BODY, fontName="Helvetica-Bold", fontSize=13, leading=17, spaceBefore=9,
    textColor=PINE, keepWithNext=1,
)  # fmt: skip
TITLE = ParagraphStyle("title", SECTION, fontSize=22, leading=28, spaceAfter=8)


def blocks(text: str) -> Iterator[tuple[ParagraphStyle, str]]:
    """The blocks of guide.md in order, each with its style and without its mark."""
    marks = (("## ", SECTION), ("# ", TITLE), ("- ", ITEM))
    for line in filter(None, (line.strip() for line in text.splitlines())):
        mark, style = next((pair for pair in marks if line.startswith(pair[0])), ("", BODY))
        yield style, line.removeprefix(mark)


def build(target: Path, text: str) -> None:
    """Write the PDF: A5, page numbers, dashes for list items."""
    document = SimpleDocTemplate(
        str(target),
        pagesize=A5,
        title="Almgrund Buying Guide",
        author="Almgrund Outdoor & Home",
        leftMargin=16 * mm,
        rightMargin=16 * mm,
        topMargin=15 * mm,
        bottomMargin=16 * mm,
        # No creation time, no random id, no zlib (whose output differs between its builds): a
        # rebuilt file is byte for byte the committed one.
        invariant=1,
        pageCompression=0,
    )
    story = [
        Paragraph(escape(line), style, bulletText="-" if style is ITEM else None)
        for style, line in blocks(text)
    ]
    document.build(story, onFirstPage=_number_page, onLaterPages=_number_page)


def _number_page(canvas: Any, document: Any) -> None:
    canvas.saveState()
    canvas.setFont("Helvetica", 8)
    canvas.drawCentredString(A5[0] / 2, 8 * mm, f"Almgrund Buying Guide - {document.page}")
    canvas.restoreState()


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET, SOURCE.read_text(encoding="utf-8"))
