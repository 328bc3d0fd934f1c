"""Counts the DAGs that Airflow's API shows, once a second, while something goes wrong."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from millrace.airflow.client import AirflowClient
from millrace.errors import AirflowError
from millrace.settings import Settings


def dag_count(airflow: AirflowClient) -> int:
    """How many DAGs there are that have not gone stale."""
    return int(airflow.get("/dags?limit=1&exclude_stale=true")["total_entries"])


class DagWatch:
    """Looks once a second while the context lasts, in a thread and with a client of its own."""

    def __init__(self, settings: Settings) -> None:
        self._airflow = AirflowClient.of(settings)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="dag-watch")
        self._began = time.monotonic()
        self.counts: Counter[int] = Counter()
        self.unanswered = 0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def elapsed_s(self) -> float:
        """Since the watch began."""
        return time.monotonic() - self._began

    @property
    def told(self) -> str:
        """`26 DAGs 120 times, 0 unanswered`."""
        seen = ", ".join(f"{count} DAGs {times} times" for count, times in self.counts.items())
        return f"{seen}, {self.unanswered} unanswered"

    def last(self, until_s: float) -> None:
        """Let the watch go on until that many seconds after its beginning."""
        self._over.wait(max(0.0, until_s - self.elapsed_s))

    def _look(self) -> None:
        while not self._over.wait(1.0):
            try:
                self.counts[dag_count(self._airflow)] += 1
            except AirflowError:
                self.unanswered += 1
