"""Documents of every file type become parts with text, place and properties."""

from __future__ import annotations

import io
import json
import zipfile

import pandas as pd
import pytest
from reportlab.pdfgen.canvas import Canvas

from millrace.errors import ContractError, LakeError
from millrace.model import SourceFile
from millrace.notebook.readers import Part, read_parts

ROWS = [{"name": "Zoë's boot", "price": 9.5, "colour": None}, {"name": "Hat", "colour": "red"}]


def _read(data: bytes, file_type: str, *, template: str | None = None) -> list[Part]:
    return list(read_parts(data, SourceFile("s", file_type, delimiter=None), template))


def _pdf(*pages: str) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for page in pages:
        for number, line in enumerate(page.splitlines()):
            canvas.drawString(72, 700 - 20 * number, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _docx(*paragraphs: str) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{space}">{body}</w:document>')
    return buffer.getvalue()


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(ROWS).to_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("file_type", "data"),
    [
        ("csv", pd.DataFrame(ROWS).to_csv(index=False).encode()),
        ("json", json.dumps(ROWS).encode()),
        ("jsonl", "\n".join(json.dumps(row) for row in ROWS).encode()),
        ("parquet", _parquet()),
    ],
)
def test_rows_keep_their_columns_as_properties(file_type: str, data: bytes) -> None:
    boot, hat = _read(data, file_type)
    assert boot.text == "name: Zoë's boot\nprice: 9.5"
    assert (boot.row, hat.row, boot.page) == (1, 2, None)
    assert dict(boot.properties) == {"name": "Zoë's boot", "price": 9.5}
    assert dict(hat.properties) == {"name": "Hat", "colour": "red"}
    assert [p.text for p in _read(data, file_type, template="{name}/{colour}")] == [
        "Zoë's boot/",
        "Hat/red",
    ]


def test_numbers_of_a_row_are_plain_json() -> None:
    [row] = _read(b"n,f,b\n1,2.5,True\n", "csv")
    assert json.loads(json.dumps(row.properties)) == {"n": 1, "f": 2.5, "b": True}


def test_a_template_that_does_not_fit_is_the_authors_fault() -> None:
    with pytest.raises(ContractError, match=r"\(name, price\).*'title'"):
        _read(b"name,price\nx,1\n", "csv", template="{title}")


def test_the_delimiter_of_the_row_is_obeyed() -> None:
    source = SourceFile("s", "csv", delimiter="|")
    [row] = read_parts(b"a|b\n1,5|2\n", source, None)
    assert dict(row.properties) == {"a": "1,5", "b": 2}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_found_out(encoding: str) -> None:
    text = "Größe und Gewicht müssen übereinstimmen, sonst drückt der Schuh. " * 5
    assert _read(text.encode(encoding), "txt")[0].text.strip() == text.strip()


def test_pages_of_a_pdf_count_from_one_and_sentences_are_whole() -> None:
    parts = _read(_pdf("A tent for two\nshould weigh little.\nSecond line.", "", "Stoves"), "pdf")
    assert [(part.page, part.text.strip()) for part in parts] == [
        (1, "A tent for two should weigh little.\nSecond line."),
        (3, "Stoves"),
    ]


def test_html_is_its_text_under_its_title() -> None:
    page = b"<html><title>Care</title><script>x()</script><p>Wash <b>cold</b>.</p></html>"
    [part] = _read(page, "html")
    assert "Wash" in part.text
    assert "x()" not in part.text
    assert part.properties == {"title": "Care"}


def test_docx_is_its_paragraphs() -> None:
    [part] = _read(_docx("First.", "", "Second."), "docx")
    assert part.text == "First.\n\nSecond."


def test_what_is_no_such_document_is_refused() -> None:
    for file_type in ("pdf", "docx", "parquet", "json"):
        with pytest.raises(Exception, match=r"."):
            _read(b"\x00\x01 broken", file_type)
    with pytest.raises(LakeError, match="known encoding"):
        _read(bytes([0x81, 0x8D, 0xFF, 0x00]) * 50, "txt")
