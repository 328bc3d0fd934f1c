"""The `run` command: trigger a stream, and follow it if asked to."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from millrace.airflow.client import AirflowClient
from millrace.cli import console, faults, stores
from millrace.cli.console import as_json_option, duration
from millrace.cli.following import Following, ProcessView, RunView
from millrace.errors import AirflowError, ControlError
from millrace.settings import Settings
from millrace.stack.waiting import wait_until

DAG_PATIENCE_S = 10.0
"""A row inserted just now is a DAG about a second later."""


@click.command(
    epilog="""\b
Examples:
  millrace run my_stream                          start it for today, do not wait
  millrace run my_stream --wait                   resume what has not succeeded, and watch
  millrace run my_stream --data-date 2026-11-19   work on that day's data
  millrace run my_stream --rerun --wait           do everything again (next generation)
"""
)
@click.argument("stream")
@click.option("--data-date", type=click.DateTime(["%Y-%m-%d"]), help="The day to work on.")
@click.option("--rerun", is_flag=True, help="Open the next generation: do everything again.")
@click.option("--wait", is_flag=True, help="Follow it; exit 1 if it fails.")
@as_json_option
def run(stream: str, data_date: datetime | None, rerun: bool, wait: bool, as_json: bool) -> None:
    """Run STREAM. What has already succeeded for the data date is not done again."""
    day = data_date.date() if data_date else None
    following = trigger(Settings.load(), stream, day, rerun=rerun)
    link = following.client.run_url(following.dag_id, following.dag_run_id)
    if not wait:
        _started(following, link, as_json=as_json)
        return
    view = follow(following, link, quiet=as_json)
    if as_json:
        click.echo(json.dumps(asdict(view) | {"link": link}, default=str, indent=2))
    if view.state == "failed":
        say_why(following, view, link)
        click.get_current_context().exit(1)


commands = (run,)


def trigger(settings: Settings, stream: str, day: date | None, *, rerun: bool) -> Following:
    """Start the stream's DAG run, waiting a little for a DAG whose row is new.

    UnknownName without such a stream; ControlError with the faults of its rows where no DAG
    comes of them; AirflowError where it is paused.
    """
    rows = stores.control(settings).read_rows()
    stores.require_stream(rows, stream)
    client, dag_id = AirflowClient.of(settings), f"stream__{stream}"
    if not wait_until(lambda: client.dag(dag_id) is not None, timeout_s=DAG_PATIENCE_S):
        raise ControlError(f"Stream {stream} has no DAG: {faults.why_no_dag(settings, stream)}")
    if (client.dag(dag_id) or {}).get("is_paused"):
        raise AirflowError(
            f"Stream {stream} is paused in Airflow.", cure=f"Unpause {dag_id} in the UI first."
        )
    conf = {"data_date": day.isoformat() if day else None, "rerun": rerun}
    run_id = client.trigger(dag_id, conf)
    return Following(
        stores.runs(settings), client, stream, run_id, stores.processes_of(rows, stream)
    )


def follow(following: Following, link: str, *, quiet: bool = False) -> RunView:
    """Show the run until it has ended: a live table, or a line for each change; its last view."""
    console.say(f"{following.stream_name} started: {link}")
    try:
        if quiet:
            return _last(following)
        return _live(following) if console.is_terminal() else _lines(following)
    except KeyboardInterrupt:
        console.say("It goes on without you; `millrace runs` shows how it ended.")
        raise


def say_why(following: Following, view: RunView, link: str) -> None:
    """Name what failed: process, cell and error as the runner wrote them, and where to look."""
    for process in view.failed:
        console.say(f"millrace: {process.process} failed: {process.message}")
        console.say(f"  {process.link}")
    if not view.failed:
        tasks = following.client.task_instances(following.dag_id, following.dag_run_id)
        names = [t["task_id"] for t in tasks if t["state"] in ("failed", "upstream_failed")]
        console.say(f"millrace: {following.stream_name} failed at {', '.join(names)}: {link}")


def _started(following: Following, link: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"dag_run_id": following.dag_run_id, "link": link}))
    else:
        click.echo(f"{following.stream_name} started: {link}")


def _last(following: Following) -> RunView:
    *_, last = following.views()
    return last


def _live(following: Following) -> RunView:
    with Live(console=Console(), refresh_per_second=4) as live:
        for view in following.views():
            live.update(console.table(_title(following, view), [_row(p) for p in view.processes]))
    return view


def _lines(following: Following) -> RunView:
    told: dict[str, tuple[Any, ...]] = {}
    for view in following.views():
        for process in view.processes:
            key = (process.state, process.attempt)
            if told.get(process.process, ("waiting", None)) != key:
                click.echo(_line(process))
            told[process.process] = key
    click.echo(_title(following, view))
    return view


def _title(following: Following, view: RunView) -> str:
    if view.run is None:
        return f"{following.stream_name}: {view.state}"
    return (
        f"{following.stream_name} {view.run.data_date} "
        f"generation {view.run.generation}: {view.state}"
    )


def _row(process: ProcessView) -> dict[str, Any]:
    return {
        "process": process.process,
        "state": process.state,
        "attempt": process.attempt,
        "time": duration(process.seconds),
        "rows_in": process.rows_in,
        "rows_out": process.rows_out,
        "message": process.message,
    }


def _line(process: ProcessView) -> str:
    words = [f"{process.process}: {process.state}"]
    if process.attempt is not None:
        words.append(f"attempt {process.attempt}")
    if process.seconds is not None and process.state in ("success", "failed", "retrying"):
        words.append(duration(process.seconds))
    if process.rows_in is not None or process.rows_out is not None:
        words.append(f"rows {process.rows_in or 0} -> {process.rows_out or 0}")
    return ", ".join([*words, *([process.message] if process.message else [])])
