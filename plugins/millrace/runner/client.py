"""papermill's notebook client on a kernel of ours. Imported only when a notebook is executed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from millrace.runner.failure import first_line
from millrace.runner.guard import KernelGuard
from millrace.runner.output import CellOutput

LIBRARY_LOG = logging.getLogger(f"{__name__}.nbclient")
"""nbclient logs sources and messages: kept to errors, so that no secret passes by the redactor."""
LIBRARY_LOG.setLevel(logging.CRITICAL)

IDLE_TIMEOUT_S = 60
START_TIMEOUT_S = 120


class CellClient(PapermillNotebookClient):  # type: ignore[misc]
    """Runs the cells of one parameterized notebook, as papermill does, and keeps nothing on disk."""

    def __init__(
        self,
        notebook: NotebookNode,
        *,
        output: CellOutput,
        guard: KernelGuard,
        start: Mapping[str, Any],
    ) -> None:
        super().__init__(
            NotebookExecutionManager(notebook, progress_bar=False),
            km=_kernel_manager(start),
            # A kernel that printed a lot may need longer than the usual 4 s to be read empty.
            raise_on_iopub_timeout=False,
            iopub_timeout=IDLE_TIMEOUT_S,
            startup_timeout=START_TIMEOUT_S,
            log=LIBRARY_LOG,
        )
        self._cell_output = output
        self._guard = guard
        self._start = start
        self.cell_index = -1
        self.on_cell_execute = self._cell_starts

    def run(self) -> None:
        """Execute all cells; a failing one is marked in its metadata and ends the run.

        RuntimeError when the kernel does not start, or has gone.
        """
        self.nb_man.notebook_start()
        try:
            self.execute(env=dict(self._start["env"]), cwd=self._start["cwd"], cleanup_kc=True)
        finally:
            self.nb_man.notebook_complete()

    def start_new_kernel(self, **kwargs: Any) -> None:
        """Start it with its own log file, and put it under guard before anything can hang."""
        with open(self._start["log_file"], "wb") as log_file:
            super().start_new_kernel(**kwargs, stdout=log_file, stderr=log_file)
        self._guard.attach(self.km.provisioner.process)

    def process_message(
        self, msg: dict[str, Any], cell: NotebookNode, cell_index: int
    ) -> NotebookNode | None:
        """As nbclient does, with the output logged and bounded first."""
        return (
            super().process_message(msg, cell, cell_index) if self._cell_output.admit(msg) else None
        )

    def _cell_starts(self, cell: NotebookNode, cell_index: int) -> None:
        self.cell_index = cell_index
        self._cell_output.start_cell(cell_index + 1, first_line(self.nb, cell_index))


def parameterized(notebook: Mapping[str, Any], values: Mapping[str, Any]) -> NotebookNode:
    """The notebook in the current format, with the values in a cell of its own below `parameters`."""
    current = nbformat.v4.upgrade(nbformat.reads(json.dumps(notebook), as_version=4))
    loaded: NotebookNode = load_notebook_node(current)
    if values:
        return _with_values(loaded, values)
    return loaded


def _with_values(notebook: NotebookNode, values: Mapping[str, Any]) -> NotebookNode:
    injected: NotebookNode = parameterize_notebook(
        notebook, dict(values), kernel_name="python3", language="python"
    )
    return injected


def _kernel_manager(start: Mapping[str, Any]) -> AsyncKernelManager:
    manager = AsyncKernelManager(connection_file=start["connection_file"])
    if start["socket_path"]:
        manager.transport, manager.ip = "ipc", start["socket_path"]
    manager._kernel_spec = KernelSpec(
        argv=list(start["argv"]), display_name="Millrace", language="python"
    )
    return manager
