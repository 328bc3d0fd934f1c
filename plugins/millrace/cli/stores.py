"""What the commands read: the control tables and the log of runs, from the settings."""

from __future__ import annotations

from millrace.control import open_control, open_runs
from millrace.control.base import ControlStore, RunStore
from millrace.errors import ControlUnavailable, UnknownName
from millrace.model import ControlRows
from millrace.settings import Settings


def control(settings: Settings) -> ControlStore:
    """The rows and snapshots; ControlUnavailable before the first `millrace up`."""
    return open_control(_url(settings))


def runs(settings: Settings) -> RunStore:
    """The arbiter and the log; ControlUnavailable before the first `millrace up`."""
    return open_runs(_url(settings))


def require_stream(rows: ControlRows, stream_name: str) -> None:
    """UnknownName, with what there is, where no active row has that name."""
    names = sorted(str(row["stream_name"]) for row in rows.streams)
    if stream_name not in names:
        there = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        raise UnknownName(
            f"There is no active stream {stream_name!r}.",
            cure=f"There are: {there}." if names else "control.stream has no active row.",
        )


def processes_of(rows: ControlRows, stream_name: str) -> list[str]:
    """The stream's active processes, in the order in which they run."""
    groups = {
        row["group_name"]: row["priority"]
        for row in rows.groups
        if row["stream_name"] == stream_name
    }
    ranked = sorted(
        (groups[row["group_name"]], row["group_name"], row["priority"], row["process_name"])
        for row in rows.processes
        if row["group_name"] in groups
    )
    return [str(name) for *_, name in ranked]


def _url(settings: Settings) -> str:
    if not settings.database_url:
        raise ControlUnavailable("There is no control database yet.", cure="Run `millrace up`.")
    return settings.database_url
