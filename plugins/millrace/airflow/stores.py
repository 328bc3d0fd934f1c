"""The control stores of a task, a trigger or a page: opened from the settings, when first used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from millrace.control import open_control, open_runs
from millrace.control.base import ControlStore, RunStore
from millrace.settings import Settings


@dataclass(frozen=True)
class Stores:
    """Rows and snapshots on one side, the arbiter and the run log on the other."""

    control: ControlStore
    runs: RunStore


@cache
def settings() -> Settings:
    """This process's settings, read once."""
    return Settings.load()


@cache
def stores() -> Stores:
    """The stores of this process's settings; neither holds a connection."""
    url = settings().database_url
    return Stores(open_control(url), open_runs(url))
