"""What the commands print: tables for people, plain lines in a pipe, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {
    "running": "green",
    "success": "green",
    "failed": "red",
    "dead": "red",
    "crashed": "red",
    "retrying": "yellow",
    "starting": "yellow",
    "queued": "cyan",
}
"""State -> colour; everything else is printed as it is."""

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def is_terminal() -> bool:
    """Whether a person looks at the output."""
    return sys.stdout.isatty()


def show(title: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool, nothing: str) -> None:
    """Print rows with the same keys: JSON, a table on a terminal, tab-separated lines in a pipe."""
    if as_json:
        click.echo(json.dumps(rows, default=_plain, indent=2))
    elif not rows:
        click.echo(nothing)
    elif is_terminal():
        Console().print(table(title, rows))
    else:
        click.echo("\t".join(rows[0]))
        for row in rows:
            click.echo("\t".join(_one_line(value) for value in row.values()))


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows as a rich table; keys with `_` become headings with blanks."""
    drawn = Table(title=title or None, title_justify="left", header_style="bold")
    for name in rows[0] if rows else ():
        is_number = all(isinstance(row[name], int | float | None) for row in rows)
        drawn.add_column(name.replace("_", " "), justify="right" if is_number else "left")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row.values()))
    return drawn


def say(line: str) -> None:
    """One line to a person, beside the data: on standard error."""
    click.echo(line, err=True)


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in the largest unit that says enough."""
    if moment is None:
        return ""
    seconds = int(((now or datetime.now(UTC)) - moment).total_seconds())
    return f"{duration(seconds)} ago"


def duration(seconds: float | None) -> str:
    """`4 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _cell(value: object) -> Text:
    text = _one_line(value)
    return Text(text, style=COLOURS.get(text, ""))


def _one_line(value: object) -> str:
    return "" if value is None else " ".join(_plain(value).split())


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return str(value)
