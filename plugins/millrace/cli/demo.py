"""The `demo` command: everything from nothing to a table of recommendations."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import click
import psycopg2

from millrace.cli import console, running, stack
from millrace.lake import Lake, open_lake
from millrace.lake.frames import decode_frame
from millrace.settings import Settings

STREAM = "merchandise_recommendation"
DATA = Path("demo") / "data"
INPUTS = {
    "data/raw/demo/catalogue.csv": "catalogue.csv",
    "data/raw/demo/buying_guide.pdf": "buying_guide.pdf",
    "data/raw/demo/customers.csv": "customers.csv",
}
"""Lake key -> file of notebooks/demo/data: what a shop's own systems would deliver."""

COLUMNS = ("customer", "product", "price_eur", "reason", "model")


@click.command()
@click.option("--no-lab", is_flag=True, help="Leave JupyterLab out.")
def demo(no_lab: bool) -> None:
    """Start the stack, load the demo stream and its files, run it, show what it recommends.

    Run again, it resumes: what has succeeded today is not done again.
    """
    settings = stack.bring_up(lab=not no_lab)
    lake = open_lake(settings.lake_url)
    load_rows(settings)
    load_files(settings, lake)
    day = _run(settings)
    key = f"data/recommendations/{day}.parquet"
    rows = decode_frame(key, lake.read_bytes(key)).to_dict("records")
    console.show("Recommendations", [_row(r) for r in rows], as_json=False, nothing="None.")
    click.echo(f"\n{len(rows)} recommendations: {lake.uri(key)}")
    for report in _reports(lake, day):
        click.echo(f"Report: {lake.uri(report)}")
    click.echo(stack.where(settings, lab=not no_lab))


def load_rows(settings: Settings) -> None:
    """Put the demo's rows into the control tables; those there are put back as they were."""
    text = (settings.project_dir / "sql" / "demo.sql").read_text("utf-8")
    with closing(psycopg2.connect(settings.database_url)) as connection:
        # The file brings its own BEGIN and COMMIT.
        connection.autocommit = True
        connection.cursor().execute(text)


def load_files(settings: Settings, lake: Lake) -> None:
    """Put the shop's files where the rows say they are; unchanged ones are left alone."""
    for key, name in INPUTS.items():
        data = (settings.notebooks_dir / DATA / name).read_bytes()
        if not lake.exists(key) or lake.read_bytes(key) != data:
            lake.write_bytes(key, data)


def _run(settings: Settings) -> date:
    """Run the stream to its end; the day it worked on. Exits 1, saying why, where it failed."""
    following = running.trigger(settings, STREAM, None, rerun=False)
    link = following.client.run_url(following.dag_id, following.dag_run_id)
    view = running.follow(following, link)
    if view.state == "failed" or view.run is None:
        running.say_why(following, view, link)
        click.get_current_context().exit(1)
    return view.run.data_date


def _row(row: dict[Any, Any]) -> dict[str, Any]:
    return {name: row[name] for name in COLUMNS if name in row}


def _reports(lake: Lake, day: date) -> list[str]:
    return [e.key for e in lake.list("data/") if str(day) in e.key and e.key.endswith(".html")]
