"""The tasks of a stream DAG: one per process, and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from millrace.airflow import dates
from millrace.airflow.operators.base import ControlTask, raise_failed
from millrace.airflow.requests import start_or_join, tick_of
from millrace.airflow.stores import stores
from millrace.model import RunIdentity, Stream, StreamRun


class RunProcess(ControlTask):
    """In a stream DAG: start or join the process's run of this stream run, and wait for it."""

    ui_color = "#d8e8d0"

    def __init__(self, *, process_name: str, stream: Stream, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.process_name = process_name
        self.stream = stream

    def advance(self, context: Any, kept: Mapping[str, Any]) -> None:
        """Ask for the process run; fail with its message if it failed."""
        run = stream_run(self.stream, context)
        requester = self.requester(context, kept)
        identity = RunIdentity(self.process_name, run.data_date, run.generation)
        answer = start_or_join(
            stores().runs,
            [(identity, self.stream.stream_name)],
            requester=requester,
            control_version=run.control_version,
            redo=requester.cleared,
        )
        raise_failed(answer)
        if answer.waiting:
            self.wait_for(answer.waiting, requester)


class StreamResult(ControlTask):
    """The last task of a stream DAG: `on_failure = continue` cannot turn a failed stream green."""

    ui_color = "#e8d8d8"

    def __init__(self, *, stream: Stream, process_names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stream = stream
        self.process_names = list(process_names)

    def advance(self, context: Any, kept: Mapping[str, Any]) -> None:
        """Write how the stream run ended; fail naming every process that did."""
        ti = context["ti"]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
        run = stream_run(self.stream, context)
        failed = [n for n in self.process_names if states.get(n) == "failed"]
        held = [n for n in self.process_names if states.get(n) == "upstream_failed"]
        if not failed and not held:
            stores().runs.close_stream_run(run, "success", "")
            return
        message = self._told(run, failed, held)
        stores().runs.close_stream_run(run, "failed", message)
        raise AirflowFailException(message)

    def _told(self, run: StreamRun, failed: Sequence[str], held: Sequence[str]) -> str:
        identities = [RunIdentity(name, run.data_date, run.generation) for name in failed]
        runs = stores().runs.process_runs(identities)
        told = [
            f"{i.process_name}: {runs[i].message if i in runs else 'failed'}" for i in identities
        ]
        if held:
            told.append("not run because of that: " + ", ".join(held))
        return "; ".join(told)


def stream_run(stream: Stream, context: Any) -> StreamRun:
    """The stream run this DAG run works on: the same for each of its tasks."""
    dag_run = context["dag_run"]
    tick = tick_of(context)
    return stores().runs.open_stream_run(
        stream.stream_name,
        dates.data_date(tick, stream),
        dag_run_id=dag_run.run_id,
        clear_number=dag_run.clear_number or 0,
        control_version=stores().control.latest_version(),
        new_generation=dates.opens_generation(tick),
    )
