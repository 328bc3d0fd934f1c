"""The executed notebook as it is kept: redacted, as .ipynb and as one self-contained HTML page."""

from __future__ import annotations

import html
import json
import logging
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from millrace.lake.base import Lake, ObjectInfo
from millrace.model import Attempt
from millrace.redaction import Redactor

log = logging.getLogger(__name__)

# Whatever an output's script tries, the page talks to nobody.
CONTENT_POLICY = (
    "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
)
STYLE = """
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif;
  color: #1f2328; background: #fff; }
header { border-bottom: 1px solid #d0d7de; margin-bottom: 1.5rem; }
header p.failed { color: #b3261e; white-space: pre-wrap; font-weight: 600; }
.cell { margin: 0 0 1.2rem; }
.prompt { color: #6e7781; font: 12px ui-monospace, monospace; }
.input_area { background: #f6f8fa; border: 1px solid #d0d7de; border-radius: 4px; padding: 0 .8rem; }
pre { overflow-x: auto; font: 13px/1.45 ui-monospace, monospace; }
.output_stderr pre { background: #fff4e5; padding: .4rem .8rem; }
.output_error pre { background: #ffebe9; padding: .4rem .8rem; }
table { border-collapse: collapse; font-size: 13px; }
th, td { border: 1px solid #d0d7de; padding: .25rem .5rem; text-align: left; }
img, svg { max-width: 100%; }
a.anchor-link { display: none; }
.ansi-red-fg { color: #b3261e; } .ansi-green-fg { color: #1a7f37; } .ansi-blue-fg { color: #0550ae; }
.ansi-cyan-fg { color: #1b7c83; } .ansi-yellow-fg { color: #7d4e00; } .ansi-bold { font-weight: 600; }
"""


@dataclass(frozen=True)
class Saved:
    """Where an executed notebook lies in the lake, with the sha256 of the .ipynb."""

    notebook: ObjectInfo
    page: ObjectInfo


def save_executed(
    lake: Lake, attempt: Attempt, notebook: Any, redactor: Redactor, *, failure: str
) -> Saved:
    """Write both copies under keys that hold the fence, so that no other attempt writes them."""
    clean = redacted(notebook, redactor)
    title = attempt.identity.run_id
    page = as_page(clean, title=title, lines=_about(attempt), failure=redactor.text(failure))
    folder = attempt.identity.attempt_folder(attempt.fence)
    saved_page = lake.write_bytes(f"{folder}/notebook.html", page)
    return Saved(lake.write_bytes(f"{folder}/notebook.ipynb", as_ipynb(clean)), saved_page)


def redacted(notebook: Any, redactor: Redactor) -> Any:
    """A copy without secrets, its pieces of stream output joined first: a secret may span two."""
    import nbformat

    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = _joined(cell.outputs)
    return nbformat.from_dict(redactor.document(notebook))


def as_ipynb(notebook: Any) -> bytes:
    """The file's bytes, lines split as JupyterLab writes them."""
    import nbformat
    from nbformat.v4 import nbjson

    text: str = nbjson.writes(nbformat.from_dict(json.loads(json.dumps(notebook))))
    return text.encode("utf-8", "replace")


def as_page(notebook: Any, *, title: str, lines: list[str], failure: str) -> bytes:
    """One HTML page with everything in it; it loads nothing from anywhere."""
    body = _rendered(notebook)
    about = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    failed = f'<p class="failed">{html.escape(failure)}</p>' if failure else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">'
        f"<title>{html.escape(title)}</title><style>{STYLE}{_highlighting()}</style></head>\n"
        f"<body><header><h1>{html.escape(title)}</h1>{about}{failed}</header>\n"
        f"{body}\n</body></html>\n"
    ).encode("utf-8", "replace")


def _rendered(notebook: Any) -> str:
    """The cells as HTML; a note where an output is such that they cannot be drawn."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body: str = _exporter().from_notebook_node(notebook)[0]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        log.warning(
            "The executed notebook could not be drawn as a page: %s",
            exc,
            extra={"action": "page_failed"},
        )
        return (
            f"<p>This notebook could not be drawn ({html.escape(repr(exc))}): see the .ipynb.</p>"
        )
    return body


def _about(attempt: Attempt) -> list[str]:
    return [
        f"Stream {attempt.stream_name}, data date {attempt.identity.data_date}, "
        f"generation {attempt.identity.generation}, attempt {attempt.attempt}",
        f"Control version {attempt.control_version}",
    ]


def _joined(outputs: list[Any]) -> list[Any]:
    """The outputs with neighbouring pieces of one stream put together."""
    pieces: list[tuple[Any, list[str]]] = []
    for output in outputs:
        is_stream = output.output_type == "stream"
        if is_stream and pieces and pieces[-1][0].get("name") == output.name:
            pieces[-1][1].append(output.text)
        else:
            pieces.append((output, [output.text] if is_stream else []))
    for output, texts in pieces:
        if texts:
            output.text = _as_on_a_terminal("".join(texts))
    return [output for output, _ in pieces]


def _as_on_a_terminal(text: str) -> str:
    """Each line as it stood in the end: a carriage return starts it again (progress bars)."""
    if "\r" not in text:
        return text
    # Not nbclient's coalesce_streams: its pattern takes minutes for lines of 100,000 characters.
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


@lru_cache(maxsize=1)
def _exporter() -> Any:
    from nbconvert.exporters import HTMLExporter

    return HTMLExporter(template_name="basic")


@lru_cache(maxsize=1)
def _highlighting() -> str:
    from pygments.formatters import HtmlFormatter

    return str(HtmlFormatter(style="default").get_style_defs(".highlight"))
