"""A stack of a test's own: its home, its ports, and the millrace command on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil

from millrace.airflow.client import AirflowClient
from millrace.errors import StackError
from millrace.settings import Settings
from millrace.stack import embedded, processes
from millrace.stack.ports import free_ports

PORTS = ("POSTGRES", "GATEWAY", "AIRFLOW", "JUPYTER")


@dataclass
class TestStack:
    """A home and four free ports; nothing runs until somebody starts it."""

    __test__ = False

    home: Path
    environment: dict[str, str] = field(repr=False)

    @property
    def settings(self) -> Settings:
        """The settings as a command on this stack reads them now."""
        return Settings.load(self.environment)

    @property
    def database_url(self) -> str:
        """The control database, owner role."""
        return self.settings.database_url

    @cached_property
    def airflow(self) -> AirflowClient:
        """Airflow's API, signed in."""
        return AirflowClient.of(self.settings)

    def cli(self, *arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        """Run `millrace ...` on this stack as a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "millrace.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start_cli(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `millrace ...` and do not wait for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "millrace.cli", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def family(self) -> list[psutil.Process]:
        """Every process of the stack, grandchildren included."""
        records = [p.record for p in embedded.parts(self.settings)]
        return processes.merge(*(processes.family(r) for r in records if r))

    def logs(self) -> str:
        """The last lines of every part's log, for a failed test's report."""
        found = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"== {p.name}\n{_tail(p)}" for p in found)


def make_stack(home: Path, **more: str) -> TestStack:
    """A stack in `home` on free ports; `more` are environment variables."""
    given = zip(PORTS, free_ports(len(PORTS)), strict=True)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")}
    own = {f"MILLRACE_{name}_PORT": str(number) for name, number in given}
    plugins = str(Path(__file__).parents[1] / "plugins")
    return TestStack(
        home,
        {**inherited, "PYTHONPATH": plugins, "MILLRACE_HOME": str(home), **own, **more},
    )


@contextmanager
def running_stack(home: Path, **more: str) -> Iterator[TestStack]:
    """The same, up and running; it is taken down whatever happens, its logs stay in `home`."""
    stack = make_stack(home, **more)
    try:
        _up(stack)
        yield stack
    finally:
        embedded.down(stack.settings)


def _up(stack: TestStack) -> None:
    try:
        embedded.up(stack.settings)
    except StackError as exc:
        exc.add_note(stack.logs())
        raise


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-30:])
