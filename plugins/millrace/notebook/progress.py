"""How far a batch is: a bar for a person at the notebook, lines for the task log."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from millrace.notebook.asking import Reply

LINE_EVERY_S = 5


@dataclass
class Counts:
    """Where a batch stands; `started` is on the monotonic clock."""

    total: int
    done: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    llm_seconds: float = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, reply: Reply) -> None:
        """Count one row."""
        self.done += 1
        self.failed += not reply.ok
        self.tokens_in += reply.tokens_in
        self.tokens_out += reply.tokens_out
        self.llm_seconds += reply.seconds

    def line(self) -> str:
        """One line: rows, failures, rates, time left."""
        seconds = max(time.monotonic() - self.started, 1e-3)
        rate = self.done / seconds
        left = (
            f", {_clock((self.total - self.done) / rate)} left"
            if 0 < self.done < self.total
            else ""
        )
        return (
            f"{self.done}/{self.total} rows, {self.failed} failed, {rate:.1f} rows/s, "
            f"{(self.tokens_in + self.tokens_out) / seconds:.0f} tokens/s{left}"
        )


class Display(Protocol):
    """Something that shows counts to a person."""

    def update(self, counts: Counts) -> None:
        """Show where it stands; called several times a second."""
        ...

    def close(self, counts: Counts) -> None:
        """Show the end."""
        ...


class Lines:
    """A line to stdout every few seconds: the runner puts it into the task log."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def update(self, counts: Counts) -> None:
        """Print a line when the last one is a while ago."""
        if time.monotonic() - self._last >= LINE_EVERY_S:
            self._last = time.monotonic()
            print(counts.line(), flush=True)

    def close(self, counts: Counts) -> None:
        """Print the last line."""
        print(counts.line(), flush=True)


class Bar:
    """A progress bar in JupyterLab or on a terminal."""

    def __init__(self, total: int) -> None:
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self._row = self._bar.add_task("", total=total)
        self._bar.start()

    def update(self, counts: Counts) -> None:
        """Move the bar."""
        self._bar.update(self._row, completed=counts.done, description=f"{counts.failed} failed")

    def close(self, counts: Counts) -> None:
        """Leave the bar as it stands."""
        self.update(counts)
        self._bar.stop()


def display_for(total: int, *, interactive: bool) -> Display:
    """A bar where a person looks on, lines in a log."""
    in_notebook = interactive and "IPython" in sys.modules and sys.modules["IPython"].get_ipython()
    return Bar(total) if in_notebook or (interactive and sys.stdout.isatty()) else Lines()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
