"""What a running notebook prints: live in the task log, bounded in the notebook."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from millrace.redaction import LineRedactor, Redactor

log = logging.getLogger(__name__)

MAX_TEXT_CHARS = 1_000_000
MAX_DATA_CHARS = 10_000_000
MAX_LOGGED_CHARS = 20_000
"""Of one result or error; the notebook has all of it."""


class CellOutput:
    """Takes a kernel's output messages, one notebook long.

    Lines go to the log as they are complete, redacted, with the cell's number (1-based, as a
    person counts in the executed notebook). Beyond the bounds neither the log nor the notebook
    gets more of a cell's output, and both say so.
    """

    def __init__(self, redactor: Redactor, run_id: str) -> None:
        self._redactor = redactor
        self._run_id = run_id
        self._cell = 0
        self._streams: dict[str, LineRedactor] = {}
        self._text_left = MAX_TEXT_CHARS
        self._data_left = MAX_DATA_CHARS

    def start_cell(self, number: int, first_line: str) -> None:
        """Cell `number` begins; what an earlier one left without a line end is logged first."""
        self.end_cell()
        self._cell = number
        self._text_left, self._data_left = MAX_TEXT_CHARS, MAX_DATA_CHARS
        self._say(f"> {first_line}")

    def end_cell(self) -> None:
        """Log the last, unended lines."""
        for redacted in self._streams.values():
            self._write(redacted.flush())
        self._streams.clear()

    def admit(self, message: dict[str, Any]) -> bool:
        """Log what an output message says and cut it to the bounds; False: drop it."""
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            return self._admit_stream(content)
        if kind in ("execute_result", "display_data", "update_display_data"):
            self._admit_data(content)
        elif kind == "error":
            content["traceback"] = _bounded_lines(content.get("traceback", []))
            self._say(f"{content.get('ename')}: {content.get('evalue')}"[:MAX_LOGGED_CHARS])
        elif kind == "clear_output":
            self._text_left, self._data_left = MAX_TEXT_CHARS, MAX_DATA_CHARS
        return True

    def _admit_stream(self, content: dict[str, Any]) -> bool:
        if self._text_left <= 0:
            return False
        text = content["text"]
        if len(text) > self._text_left:
            note = f"\n[more than {MAX_TEXT_CHARS:,} characters of output: the rest is not kept]\n"
            text = text[: self._text_left] + note
        self._text_left -= len(content["text"])
        content["text"] = text
        stream = self._streams.setdefault(content["name"], self._redactor.lines())
        self._write(stream.feed(text))
        return True

    def _admit_data(self, content: dict[str, Any]) -> None:
        data: Mapping[str, Any] = content.get("data", {})
        self._data_left -= sum(len(v) if isinstance(v, str) else len(str(v)) for v in data.values())
        if self._data_left < 0:
            data = {"text/plain": "[more output than a cell may keep: this one is left out]"}
        elif len(str(data.get("text/plain", ""))) > MAX_TEXT_CHARS:
            data = {**data, "text/plain": data["text/plain"][:MAX_TEXT_CHARS] + " [cut]"}
        content["data"] = dict(data)
        self._say(str(data.get("text/plain", ""))[:MAX_LOGGED_CHARS])

    def _say(self, text: str) -> None:
        # As a whole first: a private key spans lines.
        self._write(self._redactor.text(text).splitlines())

    def _write(self, lines: Iterable[str]) -> None:
        """Log lines that are redacted already."""
        for line in lines:
            log.info(
                "[cell %d] %s",
                self._cell,
                line,
                extra={"action": "cell_output", "run_id": self._run_id, "cell": self._cell},
            )


def _bounded_lines(lines: list[str]) -> list[str]:
    kept = lines if len(lines) <= 60 else [*lines[:30], "[...]", *lines[-29:]]
    return [line[: MAX_TEXT_CHARS // 60] for line in kept]
