"""How long a stream of 2 groups x 3 trivial notebooks takes end to end, from trigger to result.

    python -m bench.orchestration [--rounds 10]

Brings up its own stack on free ports in a temporary folder and takes it down again. To reach: a
median of 8 s on two cores, and no failed run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import closing
from pathlib import Path

import nbformat
import psycopg2

from bench.stack import Bench, bench_stack

GOAL_MEDIAN_S = 8.0
DAG_ID = "stream__bench"

ROWS = """
INSERT INTO control.stream (stream_name) VALUES ('bench');
INSERT INTO control.process_group (group_name, stream_name, priority)
SELECT 'bench.g' || g, 'bench', g FROM generate_series(1, 2) AS g;
INSERT INTO control.process (process_name, group_name, notebook_path)
SELECT 'bench.p' || g || p, 'bench.g' || g, 'trivial.ipynb'
FROM generate_series(1, 2) AS g, generate_series(1, 3) AS p;
"""


def main() -> int:
    """Measure, print, and say by the exit code whether the figure is reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with bench_stack(own_notebooks=True) as bench:
        _write_notebook(bench.settings.notebooks_dir / "trivial.ipynb")
        with closing(psycopg2.connect(bench.settings.database_url)) as connection, connection:
            connection.cursor().execute(ROWS)
        bench.until(lambda: bench.is_triggerable(DAG_ID))
        ended = [_round(bench) for _ in range(rounds)]
    return _report(ended)


def _round(bench: Bench) -> tuple[str, float]:
    """The end state of one run and its seconds, trigger to result."""
    started = time.perf_counter()
    run_id = bench.airflow.trigger(DAG_ID, {"rerun": True})
    bench.until(lambda: bench.state(DAG_ID, run_id) in ("success", "failed"))
    return bench.state(DAG_ID, run_id), time.perf_counter() - started


def _write_notebook(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    first = nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]})
    second = nbformat.v4.new_code_cell("print('hello')")
    notebook = nbformat.v4.new_notebook(cells=[first, second])
    path.write_text(nbformat.v4.writes(notebook))


def _report(ended: list[tuple[str, float]]) -> int:
    failed = sum(state != "success" for state, _ in ended)
    seconds = sorted(duration for _, duration in ended)
    median = statistics.median(seconds)
    print(f"2 groups x 3 notebooks, {len(ended)} runs: median {median:.1f} s,")
    print(f"fastest {seconds[0]:.1f} s, slowest {seconds[-1]:.1f} s, failed {failed}")
    return 0 if median <= GOAL_MEDIAN_S and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
