"""One stream's rows to its stream DAG and process DAGs. Reads a JSON file, never the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, CronTriggerTimetable, Param, TaskGroup, get_parsing_context

from millrace.airflow import docs
from millrace.airflow.childruns import process_dag_id, stream_dag_id
from millrace.airflow.operators import (
    RunDependencies,
    RunNotebook,
    RunNotebookCallable,
    RunProcess,
    StreamResult,
)
from millrace.model import Process, Schedule, Stream
from millrace.plan import GroupLayout, StreamLayout, layout

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
WAITING_RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=2)}
"""For tasks that only start and wait: Airflow can lose one between deferral and resumption."""
LONGEST_ID = 240
LONGEST_TAG = 100
BACKSTOP_S = 300
"""The runner ends a notebook at timeout_s by itself; Airflow's own limit is for a stuck runner."""


def build_dags(file: Path, run_notebook: RunNotebookCallable) -> dict[str, DAG]:
    """The DAGs of the stream whose rows lie beside `file`, by dag_id.

    When a task is about to run, Airflow says which DAG it needs: only that one is built.
    """
    entry = json.loads(file.with_suffix(".json").read_text())
    plan = layout(entry)
    wanted = get_parsing_context().dag_id
    dags = {}
    if wanted in (None, stream_dag_id(plan.stream.stream_name)):
        dag = _stream_dag(plan, entry)
        dags[dag.dag_id] = dag
    for process in plan.processes:
        if wanted in (None, process_dag_id(process.process_name)):
            dag = _process_dag(plan, process, entry, run_notebook)
            dags[dag.dag_id] = dag
    return dags


def _params() -> dict[str, Param]:
    return {
        "data_date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Data date",
            description="The day whose data to work on; empty: the stream's own rule.",
        ),
        "rerun": Param(
            False,
            type="boolean",
            title="Rerun",
            description="Open the next generation instead of resuming what has not succeeded.",
        ),
    }


def _dag(dag_id: str, stream: Stream, tags: Sequence[str], **kwargs: Any) -> DAG:
    return DAG(
        dag_id=dag_id,
        default_args={"owner": stream.owner or "millrace"},
        tags=[tag[:LONGEST_TAG] for tag in tags],
        params=_params(),
        is_paused_upon_creation=False,
        max_active_tasks=64,
        **kwargs,
    )


def _stream_dag(plan: StreamLayout, entry: Mapping[str, Any]) -> DAG:
    stream = plan.stream
    dag = _dag(
        stream_dag_id(stream.stream_name),
        stream,
        ["stream", stream.stream_name],
        description=(stream.description or stream.question)[:200],
        doc_md=docs.stream_page(plan, entry),
        schedule=_timetable(stream, plan.schedule),
        start_date=plan.schedule.created_at if plan.schedule else EPOCH,
        catchup=stream.catchup,
        max_active_runs=stream.max_active_runs,
    )
    names = TaskNames(p.process_name for p in plan.processes)
    with dag:
        before: list[Any] = []
        for number, level in enumerate(plan.levels, start=1):
            ends = [_group(stream, group, before, names) for group in level.groups]
            last = number == len(plan.levels)
            before = (
                _flat(ends) if last else [_gate(_flat(ends), names.free(f"level_{number}_done"))]
            )
        result = StreamResult(
            task_id=names.free("result"),
            stream=stream,
            process_names=[p.process_name for p in plan.processes],
            trigger_rule="all_done",
            **WAITING_RETRIES,
        )
        _chain(before, [result])
    return dag


def _timetable(stream: Stream, schedule: Schedule | None) -> CronTriggerTimetable | None:
    return CronTriggerTimetable(schedule.cron, timezone=stream.time_zone) if schedule else None


def _group(stream: Stream, group: GroupLayout, before: list[Any], names: TaskNames) -> list[Any]:
    """The tasks of a group; what the next level waits for."""
    row = group.group
    goes_on = row.on_failure == "continue"
    rule = "all_done" if goes_on else "all_success"
    with TaskGroup(
        group_id=names.free(f"group_{row.group_name}".replace(".", "_")),
        group_display_name=row.group_name,
        prefix_group_id=False,
        tooltip=docs.group_tip(row),
    ):
        for number, level in enumerate(group.levels, start=1):
            tasks = [_run_process(stream, process) for process in level.processes]
            _chain(before, tasks)
            before = list(tasks)
            is_last = number == len(group.levels)
            if not is_last or goes_on:
                step = "done" if is_last else f"step_{number}_done"
                before = [_gate(before, names.free(f"{row.group_name}_{step}"), rule)]
    return before


def _run_process(stream: Stream, process: Process) -> RunProcess:
    return RunProcess(
        task_id=process.process_name,
        process_name=process.process_name,
        stream=stream,
        doc_md=docs.process_page(process),
        **WAITING_RETRIES,
    )


def _gate(before: Iterable[Any], task_id: str, rule: str = "none_failed") -> EmptyOperator:
    """One task between two levels: group >> group would draw an edge for every pair."""
    gate = EmptyOperator(task_id=task_id, trigger_rule=rule)
    _chain(before, [gate])
    return gate


def _process_dag(
    plan: StreamLayout,
    process: Process,
    entry: Mapping[str, Any],
    run_notebook: RunNotebookCallable,
) -> DAG:
    stream = plan.stream
    name = process.process_name
    dag = _dag(
        process_dag_id(name),
        stream,
        ["process", stream.stream_name],
        description=f"{process.notebook_path} of stream {stream.stream_name}"[:200],
        doc_md=docs.process_page(process, entry),
        schedule=None,
        start_date=EPOCH,
        catchup=False,
        max_active_runs=16,
    )
    with dag:
        notebook = RunNotebook(
            task_id="notebook",
            process_name=name,
            stream=stream,
            run_notebook=run_notebook,
            retries=process.retries,
            retry_delay=timedelta(seconds=process.retry_delay_s),
            execution_timeout=timedelta(seconds=process.timeout_s + BACKSTOP_S),
            pool=process.pool,
            doc_md=docs.process_page(process),
        )
        if _has_dependencies(entry, name):
            waits = RunDependencies(
                task_id="dependencies", process_name=name, stream=stream, **WAITING_RETRIES
            )
            waits >> notebook
    return dag


def _has_dependencies(entry: Mapping[str, Any], process_name: str) -> bool:
    return any(row["process_name"] == process_name for row in entry["dependencies"])


def _chain(before: Iterable[Any], after: Iterable[Any]) -> None:
    after = list(after)
    for upstream in before:
        upstream >> after


def _flat(ends: Iterable[list[Any]]) -> list[Any]:
    return [task for end in ends for task in end]


class TaskNames:
    """Ids of a DAG's tasks and groups: processes keep their names, everything else gives way."""

    def __init__(self, process_names: Iterable[str]) -> None:
        self._taken = set(process_names)

    def free(self, wanted: str) -> str:
        """`wanted`, shortened and underscored until nothing else bears it."""
        name = wanted[-LONGEST_ID:]
        while name in self._taken:
            name = f"{name}_"
        self._taken.add(name)
        return name
