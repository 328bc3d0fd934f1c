"""The `check` command: do rows and notebooks fit, and has Airflow taken them over?"""

from __future__ import annotations

from dataclasses import asdict

import click

from millrace.cli import console, faults, stores
from millrace.cli.console import as_json_option
from millrace.control.base import Snapshot
from millrace.plan import EMPTY
from millrace.settings import Settings


@click.command(epilog="Example: millrace check && echo all is well")
@click.option(
    "--accept-empty",
    is_flag=True,
    help="The control tables are empty on purpose: remove the DAGs of what they held.",
)
@as_json_option
def check(accept_empty: bool, as_json: bool) -> None:
    """Say what is wrong with rows and notebooks, without running anything. Exit 1 if something is.

    A stream with a fault keeps its last good version; tables read empty are taken for a mistake.
    """
    settings = Settings.load()
    if accept_empty:
        snapshot = Snapshot(EMPTY.control_version, EMPTY.content)
        stores.control(settings).save_snapshot(snapshot)
    found = faults.find(settings)
    console.show("Check", [asdict(f) for f in found], as_json=as_json, nothing="All is well.")
    if any(f.kind != "note" for f in found):
        click.get_current_context().exit(1)


commands = (check,)
