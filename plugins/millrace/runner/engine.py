"""Executes a notebook: papermill injects the parameters and drives the cells of a guarded kernel.

papermill is handed a notebook in memory and JSON values, never a path or a name it could expand.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.errors import NotebookFailed
from millrace.runner.failure import Limits, failure_of_cell, failure_of_kernel
from millrace.runner.guard import INTERRUPT_GRACE_S, KernelGuard
from millrace.runner.kernel import LIMIT_OPTION
from millrace.runner.output import CellOutput

MAX_SOCKET_PATH = 90
"""A Unix socket's path may have 107 bytes; the kernel's sockets add `-1` to `-5`."""


@dataclass(frozen=True)
class Execution:
    """One notebook to execute and everything around it."""

    notebook: Mapping[str, Any]
    values: Mapping[str, Any]
    folder: Path
    """The kernel's working directory: where the notebook lies, as in JupyterLab."""
    environment: Callable[[Path], dict[str, str]]
    """From the attempt's private work directory to the kernel's whole environment."""
    limits: Limits
    output: CellOutput
    guard: KernelGuard
    grace_s: float = INTERRUPT_GRACE_S


@dataclass(frozen=True)
class Executed:
    """The notebook with its outputs (nbformat), and why it did not finish, if it did not."""

    notebook: Any
    failure: NotebookFailed | None


def execute(execution: Execution) -> Executed:
    """Run every cell in a kernel of its own until the end, a failure or a stop."""
    with _quiet_imports():
        from millrace.runner.client import CellClient, parameterized

        notebook = parameterized(execution.notebook, execution.values)
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        work_dir = Path(folder)
        client = CellClient(
            notebook,
            output=execution.output,
            guard=execution.guard,
            start=_start_options(execution, work_dir),
        )
        failure = _drive(client, execution, work_dir)
    return Executed(client.nb, failure)


def _drive(client: Any, execution: Execution, work_dir: Path) -> NotebookFailed | None:
    guard = execution.guard
    try:
        with guard.deadline(execution.limits.timeout_s, grace_s=execution.grace_s):
            client.run()
    except RuntimeError as exc:  # nbclient's and jupyter_client's word for a kernel that has gone
        said = _tail(work_dir / "kernel.log") or str(exc)
        return failure_of_kernel(
            client.nb, client.cell_index, execution.limits, guard.reason, guard.exit_code, said
        )
    finally:
        execution.output.end_cell()
        guard.detach()
    return failure_of_cell(client.nb, client.cell_index, execution.limits, guard.reason)


def _start_options(execution: Execution, work_dir: Path) -> dict[str, Any]:
    limit = execution.limits.memory_limit_mb
    socket_path = str(work_dir / "k")
    return {
        "argv": [
            *(sys.executable, "-P", "-m", "millrace.runner.kernel"),
            *([f"{LIMIT_OPTION}{limit}"] if limit else []),
            *("-f", "{connection_file}"),
        ],
        "connection_file": str(work_dir / "connection.json"),
        # Sockets in a private folder: no port to race for, nothing another user can reach.
        "socket_path": socket_path if len(socket_path) < MAX_SOCKET_PATH else None,
        "env": execution.environment(work_dir),
        "cwd": str(execution.folder),
        "log_file": work_dir / "kernel.log",
    }


def _tail(path: Path) -> str:
    """What the kernel process itself last wrote (a crash report, not cell output)."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


@contextlib.contextmanager
def _quiet_imports() -> Iterator[None]:
    """Import papermill without a second of grammar building, and without other people's warnings.

    jsonschema tries for an IRI format checker that compiles its grammar on import (1.0 s) and
    does without where it is missing; nothing in a notebook's schema uses it.
    """
    name = "rfc3987_syntax"
    is_absent = name not in sys.modules
    if is_absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if is_absent:
            del sys.modules[name]
