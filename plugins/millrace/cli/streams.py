"""Commands that look: streams, runs, logs."""

from __future__ import annotations

from typing import Any

import click

from millrace.airflow.client import AirflowClient
from millrace.cli import console, stores
from millrace.cli.console import as_json_option, duration
from millrace.control.base import LogEntry
from millrace.errors import UnknownName
from millrace.model import StreamRun
from millrace.settings import Settings
from millrace.stack import embedded


@click.command()
@as_json_option
def streams(as_json: bool) -> None:
    """List the active streams with their schedules and last runs."""
    settings = Settings.load()
    rows = stores.control(settings).read_rows()
    last = {run.stream_name: run for run in reversed(stores.runs(settings).stream_runs(limit=500))}
    crons = {row["stream_name"]: _cron(row) for row in rows.schedules}
    listed = [
        {
            "stream": row["stream_name"],
            "owner": row["owner"],
            "schedule": crons.get(row["stream_name"], ""),
            "processes": len(stores.processes_of(rows, row["stream_name"])),
            "last_run": _last(last.get(row["stream_name"])),
            "description": row["description"],
        }
        for row in rows.streams
    ]
    console.show("Streams", listed, as_json=as_json, nothing="No active stream in control.stream.")


@click.command(epilog="Examples: millrace runs; millrace runs my_stream --limit 5")
@click.argument("stream", required=False)
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
@as_json_option
def runs(stream: str | None, limit: int, as_json: bool) -> None:
    """List stream runs, or with STREAM the attempts of its processes."""
    store = stores.runs(Settings.load())
    if stream is None:
        listed = [_run_row(run) for run in store.stream_runs(limit=limit)]
    else:
        listed = [_attempt_row(entry) for entry in store.log(stream_name=stream, limit=limit)]
    console.show("Runs", listed, as_json=as_json, nothing="Nothing has run yet.")


@click.command(epilog="Examples: millrace logs recommend; millrace logs scheduler")
@click.argument("process")
@click.option("--attempt", type=int, help="Which attempt; default: the last.")
def logs(process: str, attempt: int | None) -> None:
    """Print the task log of PROCESS's last run; or the log of a part of the stack."""
    settings = Settings.load()
    entries = stores.runs(settings).log(process_name=process, limit=100)
    chosen = [e for e in entries if attempt in (None, e.attempt)]
    if chosen:
        _print_attempt(settings, chosen[0])
    elif not entries and _print_part(settings, process):
        return
    else:
        raise UnknownName(
            f"No attempt of {process!r} is in the run log.", cure="See `millrace runs`."
        )


commands = (streams, runs, logs)


def _print_attempt(settings: Settings, entry: LogEntry) -> None:
    identity = entry.identity
    click.echo(f"{identity.run_id} attempt {entry.attempt}: {entry.status} {entry.message}".strip())
    if entry.executed_notebook_uri:
        click.echo(f"executed notebook: {entry.executed_notebook_uri}")
    dag_id, run_id = f"process__{identity.process_name}", entry.dag_run_id or identity.run_id
    client = AirflowClient.of(settings)
    tries = {t["task_id"]: t["try_number"] for t in client.task_instances(dag_id, run_id)}
    for line in client.task_log(dag_id, run_id, "notebook", tries.get("notebook") or 1):
        click.echo(line)


def _print_part(settings: Settings, name: str) -> bool:
    """The last lines of a part's log; False where no part has that name or a log."""
    found = [p.log_path for p in embedded.parts(settings) if p.name == name]
    if not found or not found[0].is_file():
        return False
    for line in found[0].read_text(errors="replace").splitlines()[-200:]:
        click.echo(line)
    return True


def _cron(row: Any) -> str:
    fields = ("minute", "hour", "day_of_month", "month", "day_of_week")
    return " ".join(str(row[name]) for name in fields)


def _last(run: StreamRun | None) -> str:
    return "" if run is None else f"{run.state} {run.data_date}"


def _run_row(run: StreamRun) -> dict[str, Any]:
    return {
        "stream": run.stream_name,
        "data_date": run.data_date,
        "generation": run.generation,
        "state": run.state,
        "opened": run.opened_at,
        "took": _took(run.opened_at, run.ended_at),
        "message": run.message,
    }


def _attempt_row(entry: LogEntry) -> dict[str, Any]:
    return {
        "process": entry.identity.process_name,
        "data_date": entry.identity.data_date,
        "generation": entry.identity.generation,
        "attempt": entry.attempt,
        "status": entry.status,
        "started": entry.started_at,
        "took": _took(entry.started_at, entry.ended_at),
        "rows_in": entry.source_rows,
        "rows_out": entry.target_rows,
        "message": entry.message,
    }


def _took(start: Any, end: Any) -> str:
    return duration((end - start).total_seconds()) if start and end else ""
