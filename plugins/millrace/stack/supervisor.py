"""The supervisor as a part of the stack: started last, ended first; see supervision.py."""

from __future__ import annotations

import sys
from functools import partial

from millrace.settings import Settings
from millrace.stack import environment
from millrace.stack.part import Part

MODULE = "millrace.stack.supervision"


def part(settings: Settings) -> Part:
    """What starts the other parts again when they die; well as long as it lives."""
    return Part(
        name="supervisor",
        command=(sys.executable, "-P", "-m", MODULE),
        environment=partial(environment.base, settings),
        directory=settings.home,
        home=settings.home,
        is_healthy=lambda record: True,
        stop_patience_s=3.0,
    )
