"""The one place of the runner that names the adapters it works with."""

from __future__ import annotations

import os

from millrace.control import open_control, open_runs
from millrace.lake import open_lake
from millrace.runner.run import Wiring
from millrace.settings import Settings


def wired(settings: Settings) -> Wiring:
    """The real control store and lake of these settings."""
    return Wiring(
        store=open_runs(settings.database_url),
        snapshots=open_control(settings.database_url),
        lake=open_lake(settings.lake_url),
        settings=settings,
        environ=os.environ,
    )
