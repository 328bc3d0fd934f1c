"""Source documents to parts: pages, rows or whole texts, by the file type of the source_file row."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import bs4
import charset_normalizer
import pandas as pd
import pypdf

from millrace.errors import ContractError, LakeError
from millrace.lake.frames import decode_frame
from millrace.model import SourceFile

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "md": (".md", ".markdown"),
    "html": (".html", ".htm"),
    "csv": (".csv", ".tsv", ".txt"),
}
"""File type -> the suffixes of its files, where that is not just its own name."""

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


@dataclass(frozen=True)
class Part:
    """A page, a row or a whole document. Pages and rows count from 1."""

    text: str
    page: int | None = None
    row: int | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


def read_parts(data: bytes, source: SourceFile, template: str | None) -> Iterator[Part]:
    """The parts of one document that hold text.

    `template` is a str.format template over a row's columns; without it a row's text is one
    `column: value` line per column. Raises ContractError and whatever the format's parser raises.
    """
    reader = READERS.get(source.file_type)
    parts = reader(data) if reader else _rows(_frame(data, source), template)
    return (part for part in parts if part.text.strip())


def suffixes(file_type: str) -> tuple[str, ...]:
    """What the names of such files end in."""
    return SUFFIXES.get(file_type, (f".{file_type}",))


def decoded(data: bytes) -> str:
    """Text in UTF-8, or in the encoding that its bytes look like."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        best = charset_normalizer.from_bytes(data).best()
    if best is None:
        raise LakeError("The bytes are no text in any known encoding.")
    return str(best)


def _text(data: bytes) -> Iterator[Part]:
    yield Part(decoded(data))


def _pdf(data: bytes) -> Iterator[Part]:
    for number, page in enumerate(pypdf.PdfReader(io.BytesIO(data)).pages, start=1):
        # Lines end where the page does: a sentence that goes on is put together again.
        yield Part(re.sub(r"(?<![.!?:\n])\n(?=[a-z(])", " ", page.extract_text()), page=number)


def _html(data: bytes) -> Iterator[Part]:
    soup = bs4.BeautifulSoup(data, "html.parser")
    for tag in soup(["script", "style", "template"]):
        tag.decompose()
    title = soup.title.get_text(strip=True) if soup.title else ""
    yield Part(soup.get_text("\n", strip=True), properties={"title": title} if title else {})


def _docx(data: bytes) -> Iterator[Part]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        body = ElementTree.fromstring(archive.read("word/document.xml"))
    paragraphs = ("".join(t.text or "" for t in p.iter(f"{WORD}t")) for p in body.iter(f"{WORD}p"))
    yield Part("\n\n".join(filter(None, paragraphs)))


READERS: Mapping[str, Callable[[bytes], Iterator[Part]]] = {
    "txt": _text,
    "md": _text,
    "pdf": _pdf,
    "html": _html,
    "docx": _docx,
}


def _frame(data: bytes, source: SourceFile) -> pd.DataFrame:
    kind = source.file_type
    if kind != "parquet":
        data = decoded(data).encode()
    return decode_frame(f"document.{kind}", data, delimiter=source.delimiter)


def _rows(frame: pd.DataFrame, template: str | None) -> Iterator[Part]:
    names = [str(name) for name in frame.columns]
    for number, cells in enumerate(zip(*(frame[c] for c in frame.columns), strict=True), start=1):
        row = {n: v for n, v in zip(names, map(_json_value, cells), strict=True) if v is not None}
        yield Part(_row_text(row, names, template), row=number, properties=row)


def _row_text(row: Mapping[str, Any], names: list[str], template: str | None) -> str:
    if template is None:
        return "\n".join(f"{name}: {value}" for name, value in row.items())
    try:
        return template.format_map({name: row.get(name, "") for name in names})
    except (KeyError, IndexError, ValueError, AttributeError) as exc:
        raise ContractError(
            f"The text template does not fit the columns ({', '.join(names)}): {exc!r}."
        ) from exc


def _json_value(value: Any) -> Any:
    """A cell as JSON has it; None for a missing one."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float) and value != value:
        return None
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool | list | dict) else str(value)
