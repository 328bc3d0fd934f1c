"""Promise 6: one run per (process, data date, generation), whoever asks and whatever is killed.

Crowds of triggers, a failing dependency that two others share, and SIGKILL for the scheduler,
the triggerer, tasks, what supervises them, and kernels.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from millrace.lake import open_lake
from millrace.lake.manifest import SUFFIX, read_manifest
from millrace.model import LIVE_STATES
from millrace.stack import embedded
from tests.house import Group, House, house_settings
from tests.killing import KINDS, kill_one

SEED = 20261120
TRIGGERS = 20
KILLS = 20
FAULTS = ("kernel", "kernel", "task", "task", "worker", "scheduler", "triggerer")
DATES = tuple(f"2026-11-{day:02d}" for day in range(1, 16))
AT_ONCE = 2
"""Data dates that run side by side while the killing goes on."""
GROUPS = 3
WIDTH = 3
ROUNDS = 6
"""How often a stream run may be triggered again until it succeeds."""

NOTEBOOK = """
import time
from millrace import open_run
run = open_run(run_id)
time.sleep(seconds)
run.lake.write_text(str(run.attempt), "kills/{process}/{data_date}.txt")
time.sleep(seconds / 2)
run.finish(source_rows=1, target_rows=1)
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A stack that these tests may kill."""
    settings = house_settings(tmp_path_factory.mktemp("a killed house"))
    try:
        ready = embedded.up(settings, lab=False)
        yield House(ready, ready.notebooks_dir)
    finally:
        embedded.down(settings)


def statuses(house: House, process: str) -> list[str]:
    return [row["status"] for row in house.log(process)]


def test_twenty_triggers_at_once_run_each_process_once(house: House) -> None:
    quick = house.notebook("once/crowd.ipynb", "import time\ntime.sleep(2)")
    groups = {
        "crowd.one": Group({"crowd.a": 0}, priority=1),
        "crowd.two": Group({"crowd.b": 0}, priority=2),
    }
    house.stream("crowd", groups, notebook=quick, max_active_runs=TRIGGERS)
    house.until(lambda: house.is_triggerable("process__crowd.b"), "the stream is laid out")
    dags = ["stream__crowd"] * 12 + ["process__crowd.a", "process__crowd.b"] * 4
    Random(SEED).shuffle(dags)
    assert len(dags) == TRIGGERS
    with ThreadPoolExecutor(TRIGGERS) as crowd:
        runs = list(crowd.map(lambda dag: (dag, house.trigger(dag, data_date=DATES[0])), dags))
    ended = Counter(house.wait(dag, run_id, 300) for dag, run_id in runs)
    logs = {name: statuses(house, name) for name in ("crowd.a", "crowd.b")}
    print(f"seed {SEED}: {TRIGGERS} triggers, DAG runs {dict(ended)}, attempts {logs}")
    assert ended == {"success": TRIGGERS}
    assert logs == {"crowd.a": ["success"], "crowd.b": ["success"]}
    rows = house.runs("crowd.a", "crowd.b")
    assert {name: len(found) for name, found in rows.items()} == {"crowd.a": 1, "crowd.b": 1}


def test_a_failing_dependency_of_two_is_tried_once_a_round(house: House) -> None:
    # Long enough that both dependents ask before it fails.
    failing = "import time\ntime.sleep(8)\nraise RuntimeError('not yet')"
    quick = house.notebook("once/quick.ipynb", "print('hello')")
    base = house.notebook("once/base.ipynb", failing)
    below = {"base.g": Group({"shared.base": {"notebook_path": base}})}
    house.stream("shared_below", below, notebook=quick)
    house.stream("shared", {"shared.g": Group({"shared.a": 0, "shared.b": 0})}, notebook=quick)
    house.depend("shared.a", "shared.base")
    house.depend("shared.b", "shared.base")
    house.until(lambda: house.is_triggerable("process__shared.b"), "the stream is laid out")
    house.until(lambda: "dependencies" in house.task_ids("process__shared.b"), "they depend")
    for round_ in (1, 2):
        assert house.run("shared", data_date=DATES[0]) == "failed"
        assert statuses(house, "shared.base") == ["failed"] * round_
        for name in ("shared.a", "shared.b"):
            [row] = house.runs(name)[name]
            assert row["state"] == "failed"
            assert "not yet" in row["message"]
    house.notebook("once/base.ipynb", "print('mended')")
    assert house.run("shared", data_date=DATES[0]) == "success"
    assert statuses(house, "shared.base") == ["failed", "failed", "success"]
    for name in ("shared.a", "shared.b"):
        assert statuses(house, name)[-1] == "success"
        assert statuses(house, name).count("success") == 1


@dataclass
class Assassin:
    """Kills in the background, in a seeded order and at seeded moments, until it is told to stop."""

    house: House
    kills: int
    chance: Random
    done: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Kill one after the other; wait where there is nobody of the kind."""
        order = [FAULTS[n % len(FAULTS)] for n in range(self.kills)]
        self.chance.shuffle(order)
        for kind in order:
            self.over.wait(self.chance.uniform(1.0, 5.0))
            while not self.over.is_set() and not kill_one(self.house.settings, kind, self.chance):
                self.over.wait(0.1)
            if self.over.is_set():
                return
            self.done.append(kind)


def settled(house: House, data_date: str) -> int:
    """Trigger the stream for that day until it succeeds; how many triggers it took, or 0."""
    for triggers in range(1, ROUNDS + 1):
        run_id = house.trigger("stream__kills", data_date=data_date)
        if house.wait("stream__kills", run_id, 420) == "success":
            return triggers
    return 0


@pytest.mark.timeout(1500)
def test_kills_leave_one_success_and_one_output_for_each_run(house: House) -> None:
    processes = _insert_stream(house)
    began = time.monotonic()
    assassin = Assassin(house, KILLS, Random(SEED))
    killing = threading.Thread(target=assassin.work, name="assassin")
    killing.start()
    try:
        with ThreadPoolExecutor(AT_ONCE) as streams:
            wanted = (day for n, day in enumerate(DATES) if n < AT_ONCE or killing.is_alive())
            triggers = dict(_run_each(house, streams, wanted))
    finally:
        assassin.over.set()
        killing.join()
    told = _counted(house, processes, list(triggers))
    print(
        f"seed {SEED}: {len(assassin.done)} faults injected {dict(Counter(assassin.done))}, "
        f"data dates and triggers {triggers}, {told}, {time.monotonic() - began:.0f} s"
    )
    assert len(assassin.done) >= KILLS, f"only {assassin.done}"
    assert set(assassin.done) == set(KINDS)
    assert 0 not in triggers.values()
    assert (told["lost"], told["duplicated"], told["live"], told["strays"]) == (0, 0, 0, 0)


def _run_each(
    house: House, streams: ThreadPoolExecutor, wanted: Iterator[str]
) -> Iterator[tuple[str, int]]:
    """AT_ONCE data dates at a time; the next one begins when one of them has succeeded."""
    running: dict[Future[int], str] = {}
    for data_date in wanted:
        running[streams.submit(settled, house, data_date)] = data_date
        if len(running) >= AT_ONCE:
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            yield from [(running.pop(one), one.result()) for one in ended]
    yield from [(data_date, one.result()) for one, data_date in running.items()]


def _insert_stream(house: House) -> list[str]:
    notebook = house.notebook("once/kills.ipynb", NOTEBOOK, 'run_id: str = ""\nseconds: float = 1')
    row = {"retries": 2, "retry_delay_s": 2}
    groups = {
        f"kills.g{g}": Group(
            {f"kills.p{g}{p}": {**row, "parameters": {"seconds": 1 + p}} for p in range(WIDTH)},
            priority=g,
        )
        for g in range(GROUPS)
    }
    house.stream("kills", groups, notebook=notebook, max_active_runs=AT_ONCE)
    house.until(lambda: house.is_triggerable("stream__kills"), "the stream is laid out")
    return [name for group in groups.values() for name in group.processes]


def _counted(house: House, processes: Sequence[str], dates: Sequence[str]) -> dict[str, Any]:
    """What is lost or doubled: a success and an output for every process and data date."""
    wanted = {(name, data_date) for name in processes for data_date in dates}
    log = house.sql("SELECT * FROM control.run_log WHERE stream_name = 'kills'")
    runs = house.sql("SELECT * FROM control.process_run WHERE stream_name = 'kills'")
    successes = Counter(
        (r["process_name"], r["data_date"].isoformat()) for r in log if r["status"] == "success"
    )
    fences = {
        (r["process_name"], r["data_date"].isoformat()): r["fence"]
        for r in log
        if r["status"] == "success"
    }
    written = _fences_written(house)
    live = [r for r in runs if r["state"] in LIVE_STATES] + [
        r for r in log if r["status"] == "running"
    ]
    return {
        "runs": len(runs),
        "attempts": dict(Counter(r["status"] for r in log)),
        "lost": len(wanted - set(successes)) + len(wanted - set(written)),
        "duplicated": sum(n - 1 for n in successes.values()) + len(runs) - len(wanted),
        "live": len(live),
        "strays": len([key for key, fence in written.items() if fences.get(key) != fence]),
    }


def _fences_written(house: House) -> dict[tuple[str, str], int]:
    """(process, data date) -> the fence in its output's manifest."""
    lake = open_lake(house.settings.lake_url)
    keys = [e.key for e in lake.list("data/kills/") if e.key.endswith(SUFFIX)]
    found: dict[tuple[str, str], int] = {}
    for key in keys:
        manifest = read_manifest(lake, key.removesuffix(SUFFIX))
        assert manifest is not None
        _, _, process, name = manifest.key.split("/")
        found[process, name.removesuffix(".txt")] = manifest.fence
    assert len(found) == len(keys)
    return found
