"""A stack of its own for a bench script: free ports, a temporary home, gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
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

    def description(self, dag_id: str) -> str:
        """The description Airflow shows of a DAG."""
        return str((self.airflow.dag(dag_id) or {}).get("description"))


@contextmanager
def bench_stack(more: Mapping[str, str] | None = None) -> Iterator[Bench]:
    """Up, measured, down; `more` are settings that differ from the defaults."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-", ignore_cleanup_errors=True) as home:
        ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        given = {f"MILLRACE_{name}_PORT": port for name, port in ports.items()}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")}
        settings = Settings.load(inherited | given | {"MILLRACE_HOME": home} | dict(more or {}))
        try:
            ready = embedded.up(settings, lab=False)
            yield Bench(ready, AirflowClient.of(ready))
        finally:
            embedded.down(settings)
