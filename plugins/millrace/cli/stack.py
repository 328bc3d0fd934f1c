"""Commands about the embedded stack: up, down, status, dsn, lab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console

from millrace.cli import console
from millrace.cli.console import as_json_option
from millrace.settings import SETTINGS_FILE, Settings
from millrace.stack import embedded, jupyter
from millrace.stack.http import get_json

ROLES = ("owner", "kernel", "author", "airflow")


@click.command(epilog="Example: millrace up --no-lab")
@click.option("--no-lab", is_flag=True, help="Leave JupyterLab out.")
def up(no_lab: bool) -> None:
    """Start the embedded stack: Postgres, gateway, Airflow, JupyterLab.

    What runs already is left alone, so `up` twice is fine, and so is `up` after a crash.
    """
    settings = bring_up(lab=not no_lab)
    click.echo(where(settings, lab=not no_lab))


@click.command()
def down() -> None:
    """Stop the embedded stack; the data stays."""
    settings = Settings.load()
    with _progress("Stopping") as report:
        embedded.down(settings, report=report)
    click.echo("Stopped.")


@click.command()
@as_json_option
def status(as_json: bool) -> None:
    """Say how each part stands, and which models answer. Exit 1 if a part is not running."""
    settings = Settings.load()
    standings = embedded.standings(settings)
    rows = [asdict(s) | {"since": _moment(s.since)} for s in standings]
    models = _models(settings)
    if as_json:
        console.show("", [{"parts": rows, "models": models}], as_json=True, nothing="")
    else:
        for row in rows:
            row["since"] = console.ago(row["since"])
        console.show("Parts", rows, as_json=False, nothing="")
        click.echo(f"Models: {_told(models)}")
    if any(s.state != "running" for s in standings):
        click.get_current_context().exit(1)


@click.command(epilog='Example: psql "$(millrace dsn)"')
@click.option("--role", type=click.Choice(ROLES), default="owner", show_default=True)
def dsn(role: str) -> None:
    """Print the database's URL, password included."""
    name = "database_url" if role == "owner" else f"{role}_database_url"
    url = getattr(Settings.load(), name)
    if not url:
        raise click.ClickException("There is no database yet; run `millrace up`.")
    click.echo(url)


@click.command()
def lab() -> None:
    """Start JupyterLab if it is not running, and print its link, token included."""
    settings = bring_up(lab=True)
    click.echo(jupyter.url(settings))


commands = (up, down, status, dsn, lab)


def bring_up(*, lab: bool) -> Settings:
    """Start what is not running, telling about it; the settings with their secrets."""
    with _progress("Starting") as report:
        return embedded.up(Settings.load(), lab=lab, report=report)


def where(settings: Settings, *, lab: bool) -> str:
    """Where everything is. Passwords are shown to a terminal only, never to a log."""
    open_eyes = console.is_terminal()
    password = settings.airflow_password if open_eyes else f"in {settings.home / SETTINGS_FILE}"
    base = f"http://127.0.0.1:{settings.jupyter_port}/lab"
    lines = [
        f"Airflow     {settings.airflow_url}  user {settings.airflow_user}, password {password}",
        f"JupyterLab  {jupyter.url(settings) if open_eyes else base}" if lab else "",
        f"Gateway     {settings.gateway_url}",
        f"Postgres    127.0.0.1:{settings.postgres_port}  (millrace dsn)",
        f"Files       {settings.home}",
        "Stop with `millrace down` or `make down`.",
    ]
    return "\n".join(line for line in lines if line)


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[str, str], None]]:
    """A report function: one changing line on a terminal, a line for each change in a pipe."""
    if not console.is_terminal():
        yield lambda name, what: click.echo(f"{name}: {what}")
        return
    now: dict[str, str] = {}
    screen = Console()
    with screen.status(doing) as spinner:

        def report(name: str, what: str) -> None:
            now[name] = what
            spinner.update(f"{doing}  " + ", ".join(f"{n} {w}" for n, w in now.items()))

        yield report


def _models(settings: Settings) -> dict[str, Any]:
    return get_json(f"{settings.gateway_url}/health") or {}


def _told(health: dict[str, Any]) -> str:
    if not health:
        return "the gateway does not answer; see `millrace up`."
    return ", ".join(health.get("models") or ["none"]) + f" (gateway: {health['status']})"


def _moment(stamp: float | None) -> datetime | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)
