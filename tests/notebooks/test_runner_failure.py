"""Notebooks that go wrong, in real kernels: each ends as a failed attempt with a message to act on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import ContractError, NotebookFailed, StaleFence
from millrace.lake import ObjectInfo
from millrace.lake.local import LocalLake
from millrace.runner import run_process
from tests.notebooks.workplace import MemoryRuns, Workplace, executed_cells, is_alive, row, until

FOREVER = "import time\nwhile True:\n    time.sleep(0.05)"


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def failure(place: Workplace, **columns: Any) -> NotebookFailed:
    """Runs step.ipynb, which must fail, be recorded as failed and be kept."""
    with pytest.raises(NotebookFailed) as told:
        run_process(place.order(), place.wiring(row(**columns)))
    assert place.outcome.status == "failed"
    assert place.outcome.message == told.value.message
    assert place.outcome.executed_notebook_uri == told.value.executed_notebook_uri
    return told.value


def test_a_cell_raises(place: Workplace) -> None:
    place.write(
        "step.ipynb",
        "x = 1",
        "raise ValueError(\"no such column 'price'\")",
        "print('never')",
        parameters="top_k: int = 5",
    )

    told = failure(place, parameters={"top_k": 7})

    assert told.message == "cell 4: ValueError: no such column 'price'"
    assert told.cell == 4
    cells = executed_cells(place)
    assert cells[3].outputs[0].ename == "ValueError"
    assert cells[4].outputs == []
    assert len(list(place.lake_folder.rglob("notebook.html"))) == 1


def test_it_hangs_past_its_time(place: Workplace) -> None:
    place.write("step.ipynb", "x = 1", FOREVER)

    told = failure(place, timeout_s=3)

    assert told.message.startswith("did not finish within timeout_s=3 (cell 3: import time)")
    assert "timeout_s" in told.message
    assert executed_cells(place)[2].outputs[0].ename == "KeyboardInterrupt"


def test_it_hangs_and_does_not_listen(place: Workplace) -> None:
    place.write(
        "step.ipynb",
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf')\n"
        "while True:\n    time.sleep(0.05)",
    )

    told = failure(place, timeout_s=3)

    assert told.message.startswith(
        "did not finish within timeout_s=3 (cell 2: import signal, time)"
    )
    assert executed_cells(place)[1].outputs[0].text == "deaf\n"


@pytest.mark.parametrize(
    "hog",
    [
        "hoard = []\nwhile True:\n    hoard.append(bytearray(10 << 20))",
        "hoard = []\nwhile True:\n    hoard.append('x' * 500)",
        "import numpy\nnumpy.ones(1 << 30)",
        "import pyarrow\npyarrow.allocate_buffer(1 << 30)",
    ],
    ids=["big pieces", "small pieces", "numpy", "pyarrow"],
)
def test_it_takes_more_memory_than_it_may(place: Workplace, hog: str) -> None:
    place.write("step.ipynb", "import numpy, pandas, pyarrow.parquet\nprint('imported')", hog)

    told = failure(place, timeout_s=60, memory_limit_mb=384)

    assert told.message.startswith("cell 3: ")
    assert "exceeded memory_limit_mb=384" in told.message
    assert executed_cells(place)[1].outputs[0].text == "imported\n"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("import sys\nsys.exit('no orders today')", "cell 2: SystemExit: no orders today"),
        ("import sys\nsys.exit(3)", "cell 2: SystemExit: 3"),
        ("import os\nos._exit(0)", "cell 2: the kernel ended (exit code 0)"),
        ("import os\nos._exit(7)", "cell 2: the kernel ended (exit code 7)"),
        ("import os\nos.kill(os.getpid(), 9)", "cell 2: the kernel was killed by SIGKILL"),
        ("import os\nos.abort()", "cell 2: the kernel was killed by SIGABRT"),
    ],
)
def test_it_ends_its_own_kernel(place: Workplace, cell: str, words: str) -> None:
    place.write("step.ipynb", cell)

    assert failure(place).message.startswith(words)


def test_a_kernel_that_cannot_start(place: Workplace) -> None:
    place.write("step.ipynb", "1")

    told = failure(place, memory_limit_mb=10)

    assert told.message.startswith("the kernel did not start")


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        (None, {}, "process recommend: notebook 'step.ipynb' does not exist"),
        ("{ not json", {}, "step.ipynb is not valid JSON"),
        ('{"cells": [], "nbformat": 4}', {}, "step.ipynb has no parameters cell"),
    ],
)
def test_it_is_not_a_notebook_that_can_run(
    place: Workplace, text: str | None, columns: dict[str, object], words: str
) -> None:
    place.notebooks.mkdir()
    if text:
        place.write_text("step.ipynb", text)

    with pytest.raises(ContractError, match=words):
        run_process(place.order(will_retry=True), place.wiring(row()))

    assert place.outcome.status == "failed"
    assert place.outcome.message.startswith(words)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"top_k": "five"}, "parameter top_k must be int, not str 'five'"),
        ({"topk": 5}, "parameter topk is not declared by step.ipynb"),
    ],
)
def test_its_row_does_not_fit_and_is_not_tried_again(
    place: Workplace, parameters: dict[str, object], words: str
) -> None:
    mark = place.folder / "ran"
    place.write("step.ipynb", f"open({str(mark)!r}, 'w')", parameters="top_k: int = 5")

    with pytest.raises(ContractError):
        run_process(place.order(will_retry=True), place.wiring(row(parameters=parameters)))

    assert words in place.outcome.message
    assert not place.outcome.will_retry
    assert not mark.exists()


def test_a_failure_that_will_be_retried_says_so(place: Workplace) -> None:
    place.write("step.ipynb", "1/0")

    with pytest.raises(NotebookFailed):
        run_process(place.order(will_retry=True), place.wiring(row()))

    assert place.outcome.will_retry


def test_a_process_that_its_snapshot_does_not_have(place: Workplace) -> None:
    wiring = place.wiring(row())
    place.runs.content = {"streams": {}}

    with pytest.raises(NotebookFailed, match="No process recommend"):
        run_process(place.order(), wiring)

    assert place.outcome.status == "failed"


def test_a_lake_that_refuses_is_told(place: Workplace) -> None:
    place.write("step.ipynb", "1")
    place.lake_folder.write_text("a file where the lake should be")

    with pytest.raises(NotebookFailed):
        run_process(place.order(), place.wiring(row()))

    assert place.outcome.status == "failed"
    assert place.outcome.executed_notebook_uri is None


def test_another_attempt_takes_over_and_nothing_more_is_written(place: Workplace) -> None:
    started = place.folder / "started"
    place.write("step.ipynb", _started(started) + FOREVER)
    taker = threading.Thread(target=_when, args=(started, place.runs.take_over))
    taker.start()

    with pytest.raises(StaleFence):
        run_process(place.order(), place.wiring(row(timeout_s=120)))

    taker.join()
    assert place.runs.outcomes == []
    assert not list(place.lake_folder.rglob("notebook.*"))


def test_taken_over_at_the_last_moment_nothing_is_recorded(place: Workplace) -> None:
    place.write("step.ipynb", "1")
    wiring = place.wiring(row(), heartbeat_s=600)
    wiring = replace(wiring, lake=_Overtaken(place.lake_folder, place.runs))

    with pytest.raises(StaleFence):
        run_process(place.order(), wiring)

    assert place.runs.outcomes == []


class _Overtaken(LocalLake):
    """A lake so slow that another attempt has opened by the time it has written."""

    def __init__(self, folder: Path, runs: MemoryRuns) -> None:
        super().__init__(folder)
        self._runs = runs

    def write_bytes(self, key: str, data: bytes, *, create_only: bool = False) -> ObjectInfo:
        self._runs.take_over()
        return super().write_bytes(key, data, create_only=create_only)


def test_sigterm_stops_the_notebook_and_records_it(place: Workplace) -> None:
    started = place.folder / "started"
    place.write("step.ipynb", _started(started) + FOREVER)
    before: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: before.append(number))
    killer = threading.Thread(
        target=_when, args=(started, lambda: os.kill(os.getpid(), signal.SIGTERM))
    )
    killer.start()
    try:
        told = failure(place, timeout_s=120)
    finally:
        killer.join()
        signal.signal(signal.SIGTERM, previous)

    assert told.message.startswith("cell 2: stopped from outside (SIGTERM")
    assert before == [signal.SIGTERM]


def test_the_kernel_dies_with_the_task(place: Workplace) -> None:
    started = place.folder / "started"
    place.write(
        "step.ipynb",
        _started(started) + FOREVER,
    )
    program = (
        "from pathlib import Path\n"
        "from millrace.runner import run_process\n"
        "from tests.notebooks.workplace import Workplace, row\n"
        f"place = Workplace(Path({str(place.folder)!r}))\n"
        "run_process(place.order(), place.wiring(row(timeout_s=120)))\n"
    )
    environment = {
        "PYTHONPATH": f"plugins{os.pathsep}.",
        "PATH": os.environ["PATH"],
        "TMPDIR": str(place.folder),
    }
    task = subprocess.Popen([sys.executable, "-c", program], env=environment)
    _when(started, task.kill)
    task.wait()

    kernel = int(started.read_text())
    until(lambda: not is_alive(kernel))


def _started(path: Path) -> str:
    """Code that writes the kernel's process id, whole or not at all."""
    return (
        "import os, pathlib\n"
        f"path = pathlib.Path({str(path)!r})\n"
        "path.with_suffix('.part').write_text(str(os.getpid()))\n"
        "path.with_suffix('.part').rename(path)\n"
    )


def _when(path: Path, act: Callable[[], object]) -> None:
    """Do it once the notebook has written the file."""
    until(lambda: path.exists() and path.stat().st_size > 0)
    act()


def test_a_failing_lake_does_not_hide_why_the_notebook_failed(place: Workplace) -> None:
    place.write("step.ipynb", "raise ValueError('the real reason')")
    place.lake_folder.write_text("a file where the lake should be")

    with pytest.raises(NotebookFailed, match="the real reason"):
        run_process(place.order(), place.wiring(row()))

    assert "the real reason" in place.outcome.message
