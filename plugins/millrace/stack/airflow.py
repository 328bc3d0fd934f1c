"""Airflow's four components as parts of the stack, and what they need before their start."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg2

from millrace.errors import StackError
from millrace.settings import Settings
from millrace.stack import airflow_secrets, airflow_settings, environment
from millrace.stack.credentials import write_private
from millrace.stack.http import get_json
from millrace.stack.part import Part, Port
from millrace.stack.processes import Record

LOCAL_SETTINGS = Path("plugins") / "millrace" / "airflow" / "config"
"""Holds airflow_local_settings.py, which loads what every task would else load anew."""

HEALTH_KEYS = {
    "scheduler": "scheduler",
    "dag-processor": "dag_processor",
    "triggerer": "triggerer",
}
"""Part -> its name on Airflow's health page."""


def parts(settings: Settings) -> tuple[Part, ...]:
    """api-server, scheduler, dag-processor, triggerer; call `prepare` before the first start."""
    # Two of them would open a log server on every interface: logs are files here.
    return (
        _api_server(settings),
        _component(settings, "scheduler", "--skip-serve-logs"),
        _component(settings, "dag-processor"),
        _component(settings, "triggerer", "--skip-serve-logs"),
    )


def prepare(settings: Settings) -> None:
    """Write the password file and bring Airflow's own tables to this version."""
    home = airflow_settings.home(settings)
    home.mkdir(parents=True, exist_ok=True)
    passwords = json.dumps({settings.airflow_user: settings.airflow_password})
    write_private(airflow_settings.passwords_path(settings), passwords)
    stamp = home / "migrated"
    current = f"{version('apache-airflow')} {_schema_version(settings)}"
    if not stamp.is_file() or stamp.read_text() != current:
        _migrate(settings)
        stamp.write_text(f"{version('apache-airflow')} {_schema_version(settings)}")


def _api_server(settings: Settings) -> Part:
    return _part(
        settings,
        name="api-server",
        arguments=("api-server",),
        port=Port(settings.airflow_port, "MILLRACE_AIRFLOW_PORT"),
        is_healthy=lambda record: _health(settings) is not None,
        stop_patience_s=3.0,
    )


def _component(settings: Settings, name: str, *options: str) -> Part:
    return _part(
        settings,
        name=name,
        arguments=(name, *options),
        is_healthy=partial(_has_beaten, settings, HEALTH_KEYS[name]),
        stop_patience_s=8.0,
    )


def _part(settings: Settings, *, arguments: tuple[str, ...], **rest: Any) -> Part:
    return Part(
        command=(*_airflow(), *arguments),
        environment=partial(_environment, settings, is_scheduler=arguments[0] == "scheduler"),
        directory=settings.home,
        home=settings.home,
        start_timeout_s=180.0,
        **rest,
    )


def _airflow() -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", "airflow")


def _environment(settings: Settings, *, is_scheduler: bool = False) -> dict[str, str]:
    # Tasks are forked from the scheduler: what it has loaded costs them nothing.
    extra = (settings.project_dir / LOCAL_SETTINGS,) if is_scheduler else ()
    keys = airflow_secrets.ensure(airflow_settings.home(settings) / "secrets.json")
    return environment.base(settings, python_path=extra) | airflow_settings.variables(
        settings, keys
    )


def _health(settings: Settings) -> dict[str, Any] | None:
    return get_json(f"{settings.airflow_url}/api/v2/monitor/health")


def _has_beaten(settings: Settings, key: str, record: Record) -> bool:
    """Whether this very process has said it lives: a killed predecessor's word lingers 30 s."""
    report = (_health(settings) or {}).get(key) or {}
    beat = report.get(f"latest_{key}_heartbeat")
    if beat is None or report.get("status") != "healthy":
        return False
    return datetime.fromisoformat(beat).timestamp() > record.started_at


def _schema_version(settings: Settings) -> str:
    with closing(psycopg2.connect(settings.airflow_database_url)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT to_regclass('alembic_version')")
        if cursor.fetchone() == (None,):
            return "none"
        cursor.execute("SELECT string_agg(version_num, ',') FROM alembic_version")
        return str(cursor.fetchone())


def _migrate(settings: Settings) -> None:
    log_path = settings.home / "logs" / "airflow-migrate.log"
    with log_path.open("ab") as log:
        done = subprocess.run(
            [*_airflow(), "db", "migrate"],
            env=_environment(settings),
            cwd=settings.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise StackError("Airflow's tables could not be migrated.", cure=f"See {log_path}.")
