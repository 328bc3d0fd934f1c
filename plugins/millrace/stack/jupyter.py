"""JupyterLab on the notebooks folder, its kernels with the notebook author's database role."""

from __future__ import annotations

import os
import sys
from functools import partial

from millrace.settings import Settings
from millrace.stack import environment
from millrace.stack.http import get_json
from millrace.stack.part import Part, Port
from millrace.stack.processes import Record

OPTIONS = {
    "ServerApp.ip": ("127.0.0.1", "nothing is reachable from outside"),
    "ServerApp.port_retries": ("0", "the port in the settings or none"),
    "ServerApp.open_browser": ("False", "`millrace lab` prints the link"),
    "LabApp.check_for_updates_class": (
        "jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "nothing is asked of the internet",
    ),
    "LabApp.extension_manager": ("readonly", "would list extensions from the internet"),
}
"""Command line options: value and reason."""


def part(settings: Settings) -> Part:
    """JupyterLab; its token travels in the environment, where `ps` does not show it."""
    options = {name: value for name, (value, _) in OPTIONS.items()} | {
        "ServerApp.port": str(settings.jupyter_port),
        "ServerApp.root_dir": str(settings.notebooks_dir),
        "ServerApp.allow_root": str(os.geteuid() == 0),
    }
    return Part(
        name="jupyterlab",
        command=(
            *(sys.executable, "-P", "-m", "jupyterlab"),
            *(f"--{name}={value}" for name, value in options.items()),
        ),
        environment=partial(_environment, settings),
        directory=settings.home,
        home=settings.home,
        port=Port(settings.jupyter_port, "MILLRACE_JUPYTER_PORT"),
        is_healthy=partial(_is_healthy, f"http://127.0.0.1:{settings.jupyter_port}/api"),
        stop_patience_s=5.0,
    )


def url(settings: Settings) -> str:
    """The link that opens it."""
    return f"http://127.0.0.1:{settings.jupyter_port}/lab?token={settings.jupyter_token}"


def _environment(settings: Settings) -> dict[str, str]:
    """The author's role stands in every database URL; the owner's is not handed over."""
    own = settings.home / "jupyter"
    author = settings.author_database_url
    given = environment.base(settings) | {
        "MILLRACE_KERNEL_DATABASE_URL": author,
        "MILLRACE_VECTORS_URL": author if _is_ours(settings) else settings.vectors_url,
        "JUPYTER_TOKEN": settings.jupyter_token,
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "IPYTHONDIR": str(own / "ipython"),
    }
    withheld = ("DATABASE_URL", "AIRFLOW_DATABASE_URL", "AIRFLOW_PASSWORD", "JUPYTER_TOKEN")
    return {key: value for key, value in given.items() if key not in _named(withheld)}


def _is_ours(settings: Settings) -> bool:
    return settings.vectors_url == settings.database_url


def _named(names: tuple[str, ...]) -> set[str]:
    return {f"MILLRACE_{name}" for name in names}


def _is_healthy(url: str, record: Record) -> bool:
    return "version" in (get_json(url) or {})
