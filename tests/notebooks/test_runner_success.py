"""Notebooks that do what they should, in real kernels."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest

from millrace.errors import ControlUnavailable
from millrace.model import SourceFile
from millrace.runner import run_process
from tests.notebooks.workplace import TOKEN, VERSION, Workplace, executed_cells, is_alive, row


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_parameters_reach_the_notebook(place: Workplace) -> None:
    place.write(
        "answer/step.ipynb",
        "print(repr((top_k, style, data_date, generation, question, chunk_size, nested)))",
        parameters="top_k: int = 5\nstyle: str = ''\ndata_date: str = ''\ngeneration: int = 0\n"
        "question: str = ''\nchunk_size: int = 1\nnested: dict = {}",
    )
    style = "quotes \" ' \\ {x.__class__} \n \0 ü 🍂"
    nested = {'a"b': [1, 2.5, None, True, {"c": "s3://x"}]}
    spec = row(
        "answer/step.ipynb",
        parameters={"style": style, "nested": nested},
        stream_parameters={"top_k": 7},
        source_file=SourceFile("catalogue", "csv", chunk_size=300),
    )

    report = run_process(place.order(), place.wiring(spec))

    cells = executed_cells(place)
    assert cells[2].outputs[0].text.rstrip("\n") == repr(
        (7, style, "2026-11-20", 1, "What sells?", 300, nested)
    )
    assert report.status == "success"
    assert place.outcome.status == "success"
    assert not place.outcome.will_retry


def test_the_executed_notebook_lies_in_the_lake_with_its_sha256(place: Workplace) -> None:
    place.write("step.ipynb", "1 + 1")

    report = run_process(place.order(), place.wiring(row()))

    folder = place.lake_folder / "runs/recommend/2026-11-20/g1/attempt-1"
    data = (folder / "notebook.ipynb").read_bytes()
    nbformat.validate(nbformat.reads(data.decode(), as_version=4))
    assert report.notebook_sha256 == hashlib.sha256(data).hexdigest()
    assert place.outcome.notebook_sha256 == report.notebook_sha256
    assert place.outcome.executed_notebook_uri == report.executed_notebook_uri
    assert report.executed_notebook_uri == (folder / "notebook.ipynb").as_uri()
    assert report.page_uri == (folder / "notebook.html").as_uri()


def test_the_page_loads_nothing_and_escapes_what_is_not_html(place: Workplace) -> None:
    place.write("step.ipynb", "print('<b>not bold</b>')", "import this_is_missing <")
    with pytest.raises(Exception, match="SyntaxError"):
        run_process(place.order(), place.wiring(row()))

    (path,) = place.lake_folder.rglob("notebook.html")
    page = path.read_text()

    assert "default-src 'none'" in page
    assert "&lt;b&gt;not bold" in page
    assert "cell 3: SyntaxError" in page
    for loader in ('src="http', "src='http", "cdnjs", 'href="http', "@import"):
        assert loader not in page


def test_a_process_run_that_succeeded_before_is_left_alone(place: Workplace) -> None:
    place.runs.is_done = True

    report = run_process(place.order(), place.wiring(row("missing.ipynb")))

    assert report.status == "done"
    assert place.runs.outcomes == []


def test_output_is_logged_before_the_notebook_has_ended(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    gate = place.folder / "gate"
    place.write(
        "step.ipynb",
        "import sys, time, pathlib\n"
        "print('first line'); print('to stderr', file=sys.stderr)\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)",
        "'a result'",
    )
    seen = _Gate("[cell 2] first line", gate)
    logger = logging.getLogger("millrace.runner.output")
    logger.addHandler(seen)
    try:
        with caplog.at_level(logging.INFO, logger="millrace"):
            # The cell waits for its own output to have come out here: no end without it.
            run_process(place.order(), place.wiring(row(timeout_s=60)))
    finally:
        logger.removeHandler(seen)

    assert seen.saw_it.is_set()
    lines = [record.getMessage() for record in caplog.records]
    assert "[cell 2] to stderr" in lines
    assert "[cell 3] 'a result'" in lines
    assert not any("Executing:" in line or "%|" in line for line in lines)


class _Gate(logging.Handler):
    """Opens a gate (makes a file) when a line is logged."""

    def __init__(self, line: str, gate: Path) -> None:
        super().__init__(logging.INFO)
        self._line, self._gate = line, gate
        self.saw_it = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == self._line:
            self.saw_it.set()
            self._gate.touch()


def test_the_kernel_knows_what_it_may_and_nothing_else(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "planted")
    place.write("step.ipynb", "import os, json\nprint(json.dumps(sorted(os.environ)))")
    environ = {"PATH": "/usr/bin", "HOME": str(place.folder), "PYTHONSTARTUP": "x", "OTHER": "y"}

    run_process(place.order(), place.wiring(row(), environ=environ))

    (output,) = executed_cells(place)[1].outputs
    names = set(json.loads(output.text))
    expected = {"MILLRACE_RUN_TOKEN", "MILLRACE_KERNEL_DATABASE_URL", "MILLRACE_GATEWAY_KEY"}
    assert expected <= names
    assert {"OTHER", "PYTHONSTARTUP", "MILLRACE_DATABASE_URL"} & names == set()
    assert not [name for name in names if name.startswith("AIRFLOW")]


def test_the_kernel_gets_its_own_role_and_never_the_owners(place: Workplace) -> None:
    settings = place.settings(
        MILLRACE_DATABASE_URL="postgresql://owner:planted-owner@db/millrace",
        MILLRACE_KERNEL_DATABASE_URL="postgresql://kernel:planted-kernel@db/millrace",
    )
    place.write(
        "step.ipynb",
        "import os\n"
        "text = ' '.join(f'{k}={v}' for k, v in os.environ.items())\n"
        "print('owner' in text, text.count('planted-kernel'))",
    )

    run_process(place.order(), place.wiring(row(), settings=settings))

    assert executed_cells(place)[1].outputs[0].text == "False 2\n"


def test_it_runs_where_it_lies_as_in_jupyterlab(place: Workplace) -> None:
    place.write("answer/step.ipynb", "import neighbour\nprint(neighbour.WORD)")
    (place.notebooks / "answer/neighbour.py").write_text("WORD = 'hello'\n")

    run_process(place.order(), place.wiring(row("answer/step.ipynb")))

    assert executed_cells(place)[1].outputs[0].text == "hello\n"


def test_a_lot_of_output_is_bounded_and_says_so(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    place.write("step.ipynb", "for i in range(40): print('x' * 99_999)", "print('after')")

    with caplog.at_level(logging.INFO, logger="millrace"):
        run_process(place.order(), place.wiring(row()))

    cells = executed_cells(place)
    text = "".join(output.text for output in cells[1].outputs)
    assert len(text) < 1_100_000
    assert "the rest is not kept" in text
    assert cells[2].outputs[0].text == "after\n"
    assert sum(len(record.getMessage()) for record in caplog.records) < 1_300_000


def test_a_progress_bar_is_kept_as_it_stood_in_the_end(place: Workplace) -> None:
    place.write("step.ipynb", "print('10%', end='\\r')\nprint('99%', end='\\r')\nprint('done')")

    run_process(place.order(), place.wiring(row()))

    assert executed_cells(place)[1].outputs[0].text == "done\n"


def test_sys_exit_with_success_ends_the_notebook_early(place: Workplace) -> None:
    place.write("step.ipynb", "import sys\nsys.exit(0)", "print('never')")

    assert run_process(place.order(), place.wiring(row())).status == "success"
    assert executed_cells(place)[2].outputs == []


def test_nothing_is_left_behind(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = place.folder / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    pid_file = place.folder / "pid"
    place.write(
        "step.ipynb",
        "import subprocess\n"
        f"open({str(pid_file)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))",
    )

    run_process(place.order(), place.wiring(row()))

    assert list(temporary.iterdir()) == []
    assert not is_alive(int(pid_file.read_text()))


def test_a_control_database_that_is_away_for_a_while_is_waited_for(place: Workplace) -> None:
    place.write("step.ipynb", "1")
    place.runs.down_for_calls = 2

    run_process(place.order(), place.wiring(row(), heartbeat_s=60))
    assert place.outcome.status == "success"


def test_a_control_database_that_stays_away_is_an_error(place: Workplace) -> None:
    place.runs.down_for_calls = 1000

    with pytest.raises(ControlUnavailable):
        run_process(place.order(), place.wiring(row(), patience_s=0.0))


def test_heartbeats_may_fail_while_the_notebook_goes_on(place: Workplace) -> None:
    gate = place.folder / "gate"
    place.write(
        "step.ipynb",
        f"import time, pathlib\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)",
    )
    wiring = place.wiring(row(timeout_s=60), heartbeat_s=0.02)

    def outage() -> None:
        place.runs.beaten.wait(30)
        place.runs.down_for_calls = 3
        while place.runs.down_for_calls:
            place.runs.beaten.clear()
            place.runs.beaten.wait(30)
        gate.touch()

    watcher = threading.Thread(target=outage)
    watcher.start()
    run_process(place.order(), wiring)
    watcher.join()

    assert place.outcome.status == "success"


def test_the_runner_costs_little_to_import() -> None:
    heavy = "papermill, nbformat, nbconvert, jupyter_client, IPython, airflow"
    program = (
        "import sys, millrace.runner\n"
        f"found = [m for m in {heavy.split(', ')!r} if m in sys.modules]\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": "plugins"})


def test_what_the_log_says_carries_no_token(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    place.write("step.ipynb", "import os\nprint(os.environ['MILLRACE_RUN_TOKEN'])")

    with caplog.at_level(logging.DEBUG):
        run_process(place.order(), place.wiring(row()))

    assert TOKEN not in caplog.text
    assert TOKEN not in place.lake_text()
    assert VERSION in place.lake_text()
