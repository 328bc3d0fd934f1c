"""Says in one line why a notebook did not finish: the cell, the error, the cure."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Any

from millrace.errors import NotebookFailed
from millrace.runner.guard import StopReason

MAX_MESSAGE_CHARS = 2_000
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Limits:
    """What a notebook may take (control.process.timeout_s, memory_limit_mb)."""

    timeout_s: int
    memory_limit_mb: int | None = None


def failure_of_cell(
    notebook: Any, cell_index: int, limits: Limits, reason: StopReason | None
) -> NotebookFailed | None:
    """How the cells ended: None when all ran, or when one called sys.exit() with success."""
    if reason:
        return _stopped(notebook, cell_index, limits, reason)
    for index, cell in enumerate(notebook.cells):
        if cell.metadata.get("papermill", {}).get("exception") is True:
            return _raised(index, cell, limits)
    return None


def failure_of_kernel(
    notebook: Any,
    cell_index: int,
    limits: Limits,
    reason: StopReason | None,
    exit_code: int | None,
    said: str,
) -> NotebookFailed:
    """How a kernel ended that did not answer any more."""
    if reason:
        return _stopped(notebook, cell_index, limits, reason)
    number = cell_index + 1
    if number < 1:
        return NotebookFailed(
            f"the kernel did not start: {said[:300]}",
            cure="The whole report is in the task log, if it left one.",
        )
    if exit_code is not None and exit_code < 0 and limits.memory_limit_mb:
        return _out_of_memory(number, f"the kernel died ({_signal_name(exit_code)})", limits)
    if exit_code is not None and exit_code < 0:
        how = f"the kernel was killed by {_signal_name(exit_code)}"
        cure = "Most often that is the machine out of memory, or a crash in a native library."
    else:
        how = f"the kernel ended (exit code {exit_code})"
        cure = "Does the cell call os._exit, or a library that ends the process?"
    return NotebookFailed(f"cell {number}: {how}.", cell=number, cure=cure)


def _stopped(notebook: Any, cell_index: int, limits: Limits, reason: StopReason) -> NotebookFailed:
    number = max(cell_index, 0) + 1
    if reason == "timeout":
        where = f"cell {number}: {first_line(notebook, cell_index)}" if cell_index >= 0 else "start"
        return NotebookFailed(
            f"did not finish within timeout_s={limits.timeout_s} ({where})",
            cell=number,
            cure="Raise control.process.timeout_s, or give the notebook less to do.",
        )
    how = "SIGTERM: marked, cleared or shut down in Airflow"
    return NotebookFailed(f"cell {number}: stopped from outside ({how})", cell=number)


def _raised(index: int, cell: Any, limits: Limits) -> NotebookFailed | None:
    number = index + 1
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    if not errors:
        return NotebookFailed(f"cell {number}: failed without an error message", cell=number)
    name, value = errors[-1].ename, _ANSI.sub("", errors[-1].evalue).strip()
    if name == "SystemExit" and value in ("", "0", "None"):
        return None
    if "MemoryError" in name and limits.memory_limit_mb:
        return _out_of_memory(number, name, limits)
    text = f"cell {number}: {name}: {value}" if value else f"cell {number}: {name}"
    return NotebookFailed(text[:MAX_MESSAGE_CHARS], cell=number)


def _out_of_memory(number: int, how: str, limits: Limits) -> NotebookFailed:
    return NotebookFailed(
        f"cell {number}: {how}: exceeded memory_limit_mb={limits.memory_limit_mb}.",
        cell=number,
        cure="Raise control.process.memory_limit_mb, or read the data in parts.",
    )


def _signal_name(exit_code: int) -> str:
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"


def first_line(notebook: Any, cell_index: int) -> str:
    """The first line of a cell that says something, at most 80 characters of it."""
    lines = (line.strip() for line in notebook.cells[cell_index].source.splitlines())
    found = next((line for line in lines if line and not line.startswith("#")), "")
    return found if len(found) <= 80 else found[:77] + "..."
