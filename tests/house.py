"""Drives a real embedded stack as its users do: INSERTs, Airflow's API, a look at the run log."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import nbformat
import psycopg2
import psycopg2.extras

from millrace.airflow.client import AirflowClient
from millrace.settings import Settings
from millrace.stack.ports import free_ports

ENDED = ("success", "failed")
T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """A group of a test stream: {process name: priority, or a row's columns}."""

    processes: Mapping[str, int | Mapping[str, Any]]
    priority: int = 0
    on_failure: str = "stop"


@dataclass
class House:
    """A running stack and what a test does with it."""

    settings: Settings
    notebooks: Path

    # What a data engineer does

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run one statement (or several, without values) as the owner; its rows."""
        with closing(psycopg2.connect(self.settings.database_url)) as connection, connection:
            cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
            cursor.execute(statement, values or None)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def notebook(self, name: str, source: str = "", parameters: str = "") -> str:
        """Write a notebook under the notebooks root; its path as a row gives it."""
        path = self.notebooks / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_notebook(path, source, parameters)
        return name

    def stream(
        self, name: str, groups: Mapping[str, Group], *, notebook: str, **columns: Any
    ) -> None:
        """INSERT a whole stream in one transaction."""
        with closing(psycopg2.connect(self.settings.database_url)) as connection, connection:
            cursor = connection.cursor()
            _insert(cursor, "stream", {"stream_name": name, **columns})
            for group_name, group in groups.items():
                row: dict[str, Any] = {"group_name": group_name, "stream_name": name}
                row |= {"priority": group.priority, "on_failure": group.on_failure}
                _insert(cursor, "process_group", row)
                for process, given in group.processes.items():
                    own = {"priority": given} if isinstance(given, int) else dict(given)
                    row = {"process_name": process, "group_name": group_name}
                    _insert(cursor, "process", {"notebook_path": notebook, **row, **own})

    def depend(self, process: str, *needs: str) -> None:
        """INSERT dependencies."""
        for needed in needs:
            self.sql(
                "INSERT INTO control.process_dependency (process_name, depends_on) VALUES (%s, %s)",
                process,
                needed,
            )

    # What an Airflow user does

    @cached_property
    def airflow(self) -> AirflowClient:
        """Airflow's API, signed in."""
        return AirflowClient.of(self.settings)

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Trigger a DAG run as soon as the DAG is there; its run id."""
        self.until(lambda: self.is_triggerable(dag_id), f"{dag_id} is a DAG")
        return self.airflow.trigger(dag_id, conf)

    def run(self, stream: str, **conf: Any) -> str:
        """Trigger a stream and wait for its end: 'success' or 'failed'."""
        dag_id = f"stream__{stream}"
        return self.wait(dag_id, self.trigger(dag_id, **conf))

    def wait(self, dag_id: str, run_id: str, timeout_s: float = 180) -> str:
        """The end state of a DAG run."""
        self.until(
            lambda: self.state(dag_id, run_id) in ENDED, f"{dag_id} {run_id} ended", timeout_s
        )
        return self.state(dag_id, run_id)

    def state(self, dag_id: str, run_id: str) -> str:
        """The state of a DAG run now."""
        return str(self.airflow.dag_run(dag_id, run_id)["state"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """The task instances of a DAG run by task id."""
        return {t["task_id"]: t for t in self.airflow.task_instances(dag_id, run_id)}

    def task_ids(self, dag_id: str) -> set[str]:
        """The tasks of a DAG as Airflow shows them."""
        return {task["task_id"] for task in self.airflow.get(f"/dags/{dag_id}/tasks")["tasks"]}

    def is_triggerable(self, dag_id: str) -> bool:
        """Whether Airflow knows the DAG and would run it."""
        return self.airflow.dag(dag_id) is not None

    # What came of it

    def runs(self, *processes: str) -> dict[str, list[dict[str, Any]]]:
        """control.process_run rows by process, oldest generation first."""
        rows = self.sql(
            "SELECT * FROM control.process_run WHERE process_name = ANY(%s)"
            " ORDER BY data_date, generation",
            list(processes),
        )
        return {name: [r for r in rows if r["process_name"] == name] for name in processes}

    def log(self, process: str) -> list[dict[str, Any]]:
        """control.run_log rows of a process, oldest first."""
        return self.sql(
            "SELECT * FROM control.run_log WHERE process_name = %s ORDER BY started_at", process
        )

    def spans(self, processes: Sequence[str]) -> dict[str, tuple[datetime, datetime]]:
        """When each process's last attempt started and ended."""
        logs = {name: self.log(name)[-1] for name in processes}
        return {name: (row["started_at"], row["ended_at"]) for name, row in logs.items()}

    @staticmethod
    def until(look: Callable[[], T], what: str, timeout_s: float = 60) -> T:
        """Poll until `look` is truthy; its value. Fails the test by name at the deadline."""
        deadline = time.monotonic() + timeout_s
        while not (value := look()):
            assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
            time.sleep(0.2)
        return value


def house_settings(home: Path, **more: str) -> Settings:
    """Settings of a stack of the tests' own: below `home`, on free ports."""
    names = ("POSTGRES", "GATEWAY", "AIRFLOW", "JUPYTER")
    ports = zip(names, map(str, free_ports(len(names))), strict=True)
    given = {f"MILLRACE_{name}_PORT": port for name, port in ports}
    folders = {
        "MILLRACE_HOME": str(home / "home"),
        "MILLRACE_NOTEBOOKS_DIR": str(home / "notebooks"),
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")}
    return Settings.load(inherited | given | folders | more)


def write_notebook(path: Path, source: str = "", parameters: str = "") -> None:
    """A notebook of a `parameters` cell and one cell per part of `source` between `# %%` lines."""
    make: Any = nbformat.v4
    first = make.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    others = [make.new_code_cell(part) for part in source.split("\n# %%\n") if part]
    path.write_text(make.writes(make.new_notebook(cells=[first, *others])))


def today(time_zone: str = "UTC") -> date:
    """The calendar day there."""
    from zoneinfo import ZoneInfo

    return datetime.now(ZoneInfo(time_zone)).date()


def _insert(cursor: Any, table: str, row: Mapping[str, Any]) -> None:
    from psycopg2 import sql

    statement = sql.SQL("INSERT INTO control.{} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )
    values = [psycopg2.extras.Json(v) if isinstance(v, dict) else v for v in row.values()]
    cursor.execute(statement, values)
