"""What a notebook kernel may know of its surroundings: a list, never the parent's environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import millrace
from millrace.model import Attempt
from millrace.settings import Settings

INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ"),
    *("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE"),
)


def kernel_environment(
    settings: Settings, attempt: Attempt, parent: Mapping[str, str], work_dir: Path
) -> dict[str, str]:
    """The whole environment of an attempt's kernel.

    It holds the attempt's token and the kernel role's URLs; the owner's URLs, Airflow's
    settings and whatever else the parent has stay out.
    """
    inherited = {name: parent[name] for name in INHERITED if name in parent}
    return inherited | {
        "PYTHONPATH": str(Path(millrace.__file__).parents[1]),
        # Start-up scripts of the person who owns the home must not change a run.
        "IPYTHONDIR": str(work_dir / "ipython"),
        "MILLRACE_RUN_TOKEN": attempt.token,
        "MILLRACE_KERNEL_DATABASE_URL": settings.kernel_database_url,
        "MILLRACE_LAKE_URL": settings.lake_url,
        "MILLRACE_VECTORS_URL": _kernel_vectors_url(settings),
        "MILLRACE_GATEWAY_URL": settings.gateway_url,
        "MILLRACE_GATEWAY_KEY": settings.gateway_key,
        "MILLRACE_HOME": str(settings.home),
        "MILLRACE_PROJECT_DIR": str(settings.project_dir),
    }


def _kernel_vectors_url(settings: Settings) -> str:
    """The embedded vectors stand in the control database, where the owner's role is not for kernels."""
    owner = settings.vectors_url == settings.database_url
    return settings.kernel_database_url if owner else settings.vectors_url
