"""A part that dies is started again by the supervisor, and the stack works on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from millrace.stack import embedded, processes
from millrace.stack.embedded import Standing
from millrace.stack.part import Part
from tests.house import Group, House, house_settings
from tests.killing import part_of

MORTAL = (
    *("postgres", "gateway", "api-server"),
    *("scheduler", "dag-processor", "triggerer"),
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A stack that these tests may kill."""
    settings = house_settings(tmp_path_factory.mktemp("a mortal house"))
    try:
        ready = embedded.up(settings, lab=False)
        yield House(ready, ready.notebooks_dir)
    finally:
        embedded.down(settings)


def _kill(each: Part) -> None:
    record = each.record
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)


def _standings(house: House) -> dict[str, Standing]:
    return {s.name: s for s in embedded.standings(house.settings)}


def _all_run(house: House) -> bool:
    standings = _standings(house)
    return all(standings[name].state == "running" for name in (*MORTAL, "supervisor"))


def test_every_part_that_is_killed_comes_back_and_status_counts_it(house: House) -> None:
    before = {name: part_of(house.settings, name).record for name in MORTAL}
    for name in MORTAL:
        _kill(part_of(house.settings, name))
    house.until(lambda: _all_run(house), "every part runs again", 240)
    standings = _standings(house)
    after = {name: part_of(house.settings, name).record for name in MORTAL}
    assert [name for name in MORTAL if after[name] == before[name]] == []
    restarts = {name: standings[name].restarts for name in MORTAL}
    print(f"killed {len(MORTAL)} parts; restarts {restarts}")
    assert all(count >= 1 for count in restarts.values())
    told = part_of(house.settings, "supervisor").log_path.read_text()
    for name in MORTAL:
        assert f"{name} died" in told
        assert f"{name} was started again" in told
    quick = house.notebook("supervision/quick.ipynb", "print('hello')")
    house.stream("after", {"after.g": Group({"after.p": 0})}, notebook=quick)
    assert house.run("after") == "success"


def test_a_killed_supervisor_takes_nothing_with_it_and_up_starts_it(house: House) -> None:
    before = {name: part_of(house.settings, name).record for name in MORTAL}
    supervisor = part_of(house.settings, "supervisor")
    assert supervisor.record is not None
    processes.kill(processes.family(supervisor.record))
    assert _standings(house)["supervisor"].state == "dead"
    embedded.up(house.settings, lab=False)
    assert _standings(house)["supervisor"].state == "running"
    assert {name: part_of(house.settings, name).record for name in MORTAL} == before
