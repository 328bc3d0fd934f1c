"""The gateway as a part of the stack: `python -m millrace.gateway`."""

from __future__ import annotations

import sys
from functools import partial

from millrace.settings import Settings
from millrace.stack import environment
from millrace.stack.http import get_json
from millrace.stack.part import Part, Port
from millrace.stack.processes import Record


def part(settings: Settings) -> Part:
    """The gateway; well as soon as it answers, also while it has no backend yet."""
    return Part(
        name="gateway",
        command=(sys.executable, "-P", "-m", "millrace.gateway"),
        environment=partial(_environment, settings),
        directory=settings.home,
        home=settings.home,
        port=Port(settings.gateway_port, "MILLRACE_GATEWAY_PORT"),
        is_healthy=partial(_is_healthy, f"{settings.gateway_url}/health"),
    )


def _environment(settings: Settings) -> dict[str, str]:
    # The trial model's matrices are small and it has threads of its own: more of OpenBLAS's wait
    # for each other in busy loops, which on a busy machine is ten times slower.
    return environment.base(settings) | {"OPENBLAS_NUM_THREADS": "1"}


def _is_healthy(url: str, record: Record) -> bool:
    return (get_json(url) or {}).get("status") in ("ok", "degraded")
