"""A stack whose Airflow reaches the control database through a proxy, and what goes wrong in it.

Airflow's own metadata is reached directly, so that its API goes on counting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from millrace.settings import Settings
from millrace.stack import airflow, embedded, lock, part
from millrace.stack.part import Part
from tests.fault_proxy import FaultProxy
from tests.house import Group, House, house_settings
from tests.watching import dag_count

STREAMS = 4
DAGS = 1 + STREAMS * 3
"""The housekeeping DAG; per stream its own and two of processes."""


@dataclass(frozen=True)
class Outage:
    """A stack whose Airflow sees the control database through the proxy."""

    house: House
    proxy: FaultProxy
    through: Settings


@contextmanager
def cut_off(home: Path) -> Iterator[Outage]:
    """Such a stack in `home`, up and running with its streams; it is taken down afterwards."""
    settings = house_settings(home)
    try:
        ready = embedded.up(settings, lab=False)
        with FaultProxy(("127.0.0.1", ready.postgres_port)) as proxy:
            ports = f":{ready.postgres_port}/", f":{proxy.port}/"
            through = replace(ready, database_url=ready.database_url.replace(*ports))
            for each in restart(through, *(p.name for p in airflow.parts(through))):
                part.wait_healthy(each)
            house = House(ready, ready.notebooks_dir)
            _insert_streams(house)
            yield Outage(house, proxy, through)
    finally:
        embedded.down(settings)


def restart(settings: Settings, *names: str) -> list[Part]:
    """Stop and start parts with those settings; does not wait for their health."""
    chosen = [p for p in embedded.parts(settings) if p.name in names]
    with my_turn(settings):
        for each in chosen:
            part.stop(each)
        for each in chosen:
            part.start(each)
    return chosen


def my_turn(settings: Settings) -> AbstractContextManager[None]:
    """Within it the supervisor takes a part that ends for one that is stopped."""
    return lock.exclusive(settings.home, lambda: None)


def _insert_streams(house: House) -> None:
    quick = house.notebook("outage/quick.ipynb", "print('hello')")
    for number in range(STREAMS):
        name = f"calm{number}"
        groups = {f"{name}.g": Group({f"{name}.a": 0, f"{name}.b": 1})}
        house.stream(name, groups, notebook=quick)
        house.sql(
            "INSERT INTO control.schedule"
            " (stream_name, minute, hour, day_of_month, month, day_of_week)"
            " VALUES (%s, '0', '4', '1', '1', '*')",
            name,
        )
    house.until(lambda: dag_count(house.airflow) == DAGS, "all DAGs are there", 180)


def bundle_folder(house: House) -> Path:
    """Where the control bundle keeps its files."""
    return house.settings.home / "airflow" / "bundles" / "control"


def kept(folder: Path) -> list[Path]:
    """The files that hold rows: all below it that are no program."""
    found = [p for p in folder.rglob("*") if p.is_file()]
    return [p for p in found if p.suffix not in (".py", ".pyc")]


def damage(files: Sequence[Path]) -> int:
    """Overwrite each file with what is neither JSON nor text; how many there were."""
    for number, path in enumerate(files):
        path.write_bytes((b"\xff\x00{", b"", b"{}")[number % 3])
    return len(files)


@contextmanager
def repaired(proxy: FaultProxy) -> Iterator[None]:
    """The proxy passes everything again afterwards, however the test ended."""
    try:
        yield
    finally:
        proxy.become("pass")
