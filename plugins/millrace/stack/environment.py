"""The environment of the stack's parts: the caller's, without what would bend them, plus settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from millrace.settings import PREFIX, Settings

DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")
"""Would slow every start or mix another Python's modules in."""

DROPPED_PREFIXES = ("AIRFLOW_", "JUPYTER_", "_AIRFLOW", "PG", PREFIX)
"""Another Airflow's, Jupyter's or Postgres's settings, and ours in an older state."""

QUIET = {
    "DO_NOT_TRACK": "1",
    "SCARF_NO_ANALYTICS": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
"""Nothing reports home, and nothing on this machine is asked for by way of a proxy."""


LEAN = {"MALLOC_ARENA_MAX": "2"}
"""glibc keeps a heap for every thread otherwise: 10 MB each in a long-running server."""


def base(settings: Settings, *, python_path: tuple[Path, ...] = ()) -> dict[str, str]:
    """What every part gets; `python_path` comes before the project's own plugins folder."""
    folders = (*python_path, settings.project_dir / "plugins")
    return {
        **_inherited(os.environ),
        **QUIET,
        **LEAN,
        **settings.environment(),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), _path(os.environ)]),
        "LANG": os.environ.get("LANG") or "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PYTHONUNBUFFERED": "1",
    }


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in environ.items()
        if key not in DROPPED and not key.startswith(DROPPED_PREFIXES)
    }


def _path(environ: Mapping[str, str]) -> str:
    return environ.get("PATH") or os.defpath
