"""A stack of its own for a bench script: free ports, a temporary home, gone afterwards."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from millrace.airflow.client import AirflowClient
from millrace.settings import Settings
from millrace.stack import embedded
from millrace.stack.ports import free_ports

PORTS = ("POSTGRES", "GATEWAY", "AIRFLOW", "JUPYTER")


@dataclass(frozen=True)
class Bench:
    """A running stack and the questions bench scripts ask it."""

    settings: Settings
    airflow: AirflowClient

    def dag_count(self) -> int:
        """How many DAGs Airflow shows."""
        return int(self.airflow.get("/dags?limit=1")["total_entries"])

    def is_triggerable(self, dag_id: str) -> bool:
        """Whether Airflow would start a run of the DAG now."""
        return self.airflow.dag(dag_id) is not None

    def state(self, dag_id: str, run_id: str) -> str:
        """The state of a DAG run."""
        return str(self.airflow.dag_run(dag_id, run_id)["state"])

    @staticmethod
    def until(look: Callable[[], bool], patience_s: float = 120.0) -> None:
        """Poll until it is so; SystemExit where it never is."""
        deadline = time.perf_counter() + patience_s
        while not look():
            if time.perf_counter() > deadline:
                raise SystemExit(f"not seen within {patience_s:.0f} s")
            time.sleep(0.1)

    def description(self, dag_id: str) -> str:
        """The description Airflow shows of a DAG."""
        return str((self.airflow.dag(dag_id) or {}).get("description"))


@contextmanager
def bench_stack(*, own_notebooks: bool = False) -> Iterator[Bench]:
    """Up, measured, down; `own_notebooks` gives it an empty notebooks folder of its own."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-", ignore_cleanup_errors=True) as home:
        ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        given = {f"MILLRACE_{name}_PORT": port for name, port in ports.items()}
        if own_notebooks:
            given["MILLRACE_NOTEBOOKS_DIR"] = f"{home}/notebooks"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")}
        settings = Settings.load(inherited | given | {"MILLRACE_HOME": home})
        try:
            ready = embedded.up(settings, lab=False)
            yield Bench(ready, AirflowClient.of(ready))
        finally:
            embedded.down(settings)
