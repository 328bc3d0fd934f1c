"""The run's own row in the log, written through the kernel's functions; nothing when interactive."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from millrace.control.session import open_session
from millrace.errors import ControlUnavailable
from millrace.notebook.progress import Counts
from millrace.sqlfile import load_statements

logger = logging.getLogger(__name__)

STATEMENTS = load_statements(Path(__file__).with_name("kernel.sql"))
PROGRESS_EVERY_S = 1.0
PROGRESS_DEADLINE_S = 1.0
DEADLINE_S = 20.0


class RunRecord(Protocol):
    """Where a run's counts go."""

    token: str | None
    """The attempt's secret, for the effects that are committed under its fence."""

    def progress(self, counts: Counts) -> None:
        """Note where a batch stands, at most once a second; StaleFence ends the batch."""
        ...

    def add_usage(self, tokens_in: int, tokens_out: int, llm_seconds: float) -> None:
        """Add what a finished call or batch used to the run's totals."""
        ...

    def finish(self, source_rows: int | None, target_rows: int | None) -> None:
        """Record the notebook's own counts."""
        ...

    def assert_fence(self) -> None:
        """StaleFence when another attempt has taken the run over."""
        ...


class ScratchRecord:
    """An interactive run: nothing is recorded."""

    token: str | None = None

    def progress(self, counts: Counts) -> None:
        """Nothing."""

    def add_usage(self, tokens_in: int, tokens_out: int, llm_seconds: float) -> None:
        """Nothing."""

    def finish(self, source_rows: int | None, target_rows: int | None) -> None:
        """Nothing."""

    def assert_fence(self) -> None:
        """Nobody else writes under scratch/."""


class KernelRecord:
    """A production run: control.run_log through the kernel role's functions."""

    def __init__(self, database_url: str, token: str) -> None:
        self.token: str | None = token
        self._database_url = database_url
        self._tokens_in = 0
        self._tokens_out = 0
        self._llm_seconds = 0.0
        self._noted_at = 0.0

    def run(self) -> Mapping[str, Any]:
        """The run as control.kernel_run tells it."""
        run: Mapping[str, Any] = self._call("run")["run"]
        return run

    def progress(self, counts: Counts) -> None:
        """Write the totals so far; a control database that does not answer is waited out."""
        if time.monotonic() - self._noted_at >= PROGRESS_EVERY_S:
            self._note(counts)
            self._noted_at = time.monotonic()

    def add_usage(self, tokens_in: int, tokens_out: int, llm_seconds: float) -> None:
        """Add to the totals and write them; a database that does not answer is waited out."""
        self._tokens_in += tokens_in
        self._tokens_out += tokens_out
        self._llm_seconds += llm_seconds
        self._note(Counts(total=0))

    def finish(self, source_rows: int | None, target_rows: int | None) -> None:
        """Write the rows; ControlUnavailable and StaleFence are raised."""
        self._call("finish", source_rows=source_rows, target_rows=target_rows)

    def assert_fence(self) -> None:
        """One round trip to the control database."""
        self._call("assert_fence")

    def _note(self, counts: Counts) -> None:
        is_batch = counts.total > 0
        try:
            self._call(
                "progress",
                deadline_s=PROGRESS_DEADLINE_S,
                source_rows=counts.total if is_batch else None,
                target_rows=counts.done - counts.failed if is_batch else None,
                tokens_in=self._tokens_in + counts.tokens_in,
                tokens_out=self._tokens_out + counts.tokens_out,
                llm_seconds=self._llm_seconds + counts.llm_seconds,
                message=counts.line() if is_batch else None,
            )
        except ControlUnavailable as error:
            logger.warning("Progress was not recorded: %s", error, extra={"action": "progress"})

    def _call(
        self, statement: str, *, deadline_s: float = DEADLINE_S, **values: Any
    ) -> dict[str, Any]:
        with open_session(self._database_url, deadline_s) as session:
            row = session.row(STATEMENTS[statement], {"token": self.token, **values})
        return row or {}
