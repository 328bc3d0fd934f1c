"""How long a change of rows takes to be seen by Airflow: INSERT -> triggerable, UPDATE -> seen,
DELETE -> gone, with many streams loaded.

    python -m bench.visibility [--streams 100] [--processes 20] [--rounds 15]

Brings up its own stack on free ports in a temporary folder and takes it down again. To reach,
with 100 x 20: 1 s median and 5 s at the most, each.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
from rich.console import Console
from rich.table import Table

from bench.stack import Bench, bench_stack

GOAL_MEDIAN_S = 1.0
GOAL_LONGEST_S = 5.0

LOAD = """
INSERT INTO control.stream (stream_name, description)
SELECT 's' || s, 'stream ' || s FROM generate_series(1, %(streams)s) AS s;
INSERT INTO control.process_group (group_name, stream_name, priority)
SELECT 's' || s || '.g' || g, 's' || s, g
FROM generate_series(1, %(streams)s) AS s, generate_series(0, 3) AS g;
INSERT INTO control.process (process_name, group_name, notebook_path)
SELECT 's' || s || '.p' || p, 's' || s || '.g' || p %% 4, 'demo/hello.ipynb'
FROM generate_series(1, %(streams)s) AS s, generate_series(1, %(processes)s) AS p;
"""
INSERT = """
INSERT INTO control.stream (stream_name, description) VALUES (%(name)s, 'new');
INSERT INTO control.process_group (group_name, stream_name) VALUES (%(name)s || '.g', %(name)s);
INSERT INTO control.process (process_name, group_name, notebook_path)
VALUES (%(name)s || '.p', %(name)s || '.g', 'demo/hello.ipynb');
"""
UPDATE = "UPDATE control.stream SET description = %(told)s WHERE stream_name = %(name)s"
DELETE = """
DELETE FROM control.process WHERE group_name = %(name)s || '.g';
DELETE FROM control.process_group WHERE stream_name = %(name)s;
DELETE FROM control.stream WHERE stream_name = %(name)s;
"""


def main() -> int:
    """Measure, print, and say by the exit code whether the figures are reached."""
    given = _arguments()
    with bench_stack() as bench:
        loading = time.perf_counter()
        _execute(bench, LOAD, streams=given.streams, processes=given.processes)
        bench.until(lambda: bench.dag_count() >= given.streams * (given.processes + 1))
        print(
            f"first parse of {given.streams} x {given.processes}: {time.perf_counter() - loading:.1f} s"
        )
        seen = list(_rounds(bench, given.rounds))
    return _report(seen)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    return parser.parse_args()


def _rounds(bench: Bench, rounds: int) -> Iterator[tuple[str, float]]:
    for number in range(rounds):
        yield from _round(bench, f"new{number}", f"told {number}")


def _round(bench: Bench, name: str, told: str) -> Iterator[tuple[str, float]]:
    dag_id = f"stream__{name}"
    yield (
        "INSERT -> triggerable",
        _timed(bench, INSERT, lambda: bench.is_triggerable(dag_id), name=name),
    )
    yield (
        "UPDATE -> seen",
        _timed(bench, UPDATE, lambda: bench.description(dag_id) == told, name=name, told=told),
    )
    yield (
        "DELETE -> gone",
        _timed(bench, DELETE, lambda: not bench.is_triggerable(dag_id), name=name),
    )


def _timed(bench: Bench, statement: str, look: Callable[[], bool], **values: str) -> float:
    _execute(bench, statement, **values)
    started = time.perf_counter()
    bench.until(look)
    return time.perf_counter() - started


def _execute(bench: Bench, statement: str, **values: object) -> None:
    with closing(psycopg2.connect(bench.settings.database_url)) as connection, connection:
        connection.cursor().execute(statement, values)


def _report(seen: list[tuple[str, float]]) -> int:
    table = Table(title="Seconds until Airflow shows a change of rows")
    for heading in ("change", "rounds", "median", "longest", "reached"):
        table.add_column(heading, justify="right" if heading != "change" else "left")
    all_reached = True
    for what in dict(seen):
        values = [seconds for name, seconds in seen if name == what]
        median, longest = statistics.median(values), max(values)
        reached = median <= GOAL_MEDIAN_S and longest <= GOAL_LONGEST_S
        all_reached &= reached
        table.add_row(
            what, str(len(values)), f"{median:.2f}", f"{longest:.2f}", "yes" if reached else "no"
        )
    Console().print(table)
    return 0 if all_reached else 1


if __name__ == "__main__":
    sys.exit(main())
