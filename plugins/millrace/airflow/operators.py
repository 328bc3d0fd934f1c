"""The tasks of stream DAGs and process DAGs.

Task arguments and conf name things only; what a run works with comes from control.process_run
and the snapshot it points to.
"""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operatorlink import BaseOperatorLink
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from millrace.airflow import dates
from millrace.airflow.claims import Claim, claim, wanted_dependencies
from millrace.airflow.notify import announce_failure, announce_recovery
from millrace.airflow.requests import Answer, Requester, start_or_join, tick_of
from millrace.airflow.stores import settings, stores
from millrace.airflow.trigger import ProcessRunTrigger
from millrace.errors import ContractError, ControlError, ControlUnavailable, NotebookFailed
from millrace.model import ProcessRun, RunIdentity, Stream, StreamRun

log = logging.getLogger(__name__)

RunNotebookCallable = Callable[..., Any]
"""Called with identity, stream_name, dag_run_id, clear_number, control_version, will_retry and
log_url; raises NotebookFailed or ContractError. dags/stream.py binds it to the runner."""

PATIENCE_S = 240.0
"""How long a task waits for a control database that is away before it fails (and is retried)."""
PAUSE_S = 5.0


class NotebookLink(BaseOperatorLink):
    """A button on the task that opens the executed notebook."""

    name = "Executed notebook"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """URL of the page plugins/millrace_ui.py serves for the process run."""
        run_id = getattr(operator, "run_id", None)
        return f"{settings().airflow_url}/millrace/runs/{run_id}/notebook" if run_id else ""


class _ControlTask(BaseOperator):
    """What the tasks share: the control store, and waiting for process runs without a slot."""

    def execute(self, context: Any) -> Any:
        """Do it; ControlError ends the task with its own words and without retries."""
        return self._guarded(context, {})

    def look_again(self, context: Any, event: Any, **kept: Any) -> Any:
        """Back from waiting: ask the arbiter again."""
        return self._guarded(context, kept)

    @abstractmethod
    def advance(self, context: Any, kept: Mapping[str, Any]) -> Any:
        """One step towards the end; calls wait_for when others must finish first."""

    def wait_for(
        self, identities: Sequence[RunIdentity], requester: Requester, **kept: Any
    ) -> None:
        """Give the slot back until one of the runs needs looking at."""
        self.defer(
            trigger=ProcessRunTrigger([i.run_id for i in identities]),
            method_name="look_again",
            kwargs={"began_at": requester.began_at.isoformat(), **kept},
        )

    def _guarded(self, context: Any, kept: Mapping[str, Any]) -> Any:
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.advance(context, kept)
            except ControlUnavailable as exc:
                if time.monotonic() > give_up_at:
                    raise AirflowException(str(exc)) from exc
                log.warning("Trying again in %.0f s: %s", PAUSE_S, exc)
            except (ControlError, ContractError) as exc:
                raise AirflowFailException(str(exc)) from exc
            time.sleep(PAUSE_S)

    @staticmethod
    def requester(context: Any, kept: Mapping[str, Any]) -> Requester:
        """Who asks; `began_at` survives the wait."""
        found = Requester.of(context)
        if "began_at" not in kept:
            return found
        began_at = datetime.fromisoformat(kept["began_at"])
        return Requester(found.dag_run_id, found.clear_number, began_at, found.cleared)


class RunProcess(_ControlTask):
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


class RunDependencies(_ControlTask):
    """In a process DAG: start or join each active dependency for the same data date, and wait."""

    ui_color = "#e8e4d0"

    def __init__(self, *, process_name: str, stream: Stream, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.process_name = process_name
        self.stream = stream

    def advance(self, context: Any, kept: Mapping[str, Any]) -> Claim:
        """Claim the run, then see that everything it needs is done."""
        requester = self.requester(context, kept)
        mine = claim(stores(), self.process_name, self.stream, context, requester)
        if mine.is_guest:
            self._join(mine, requester)
        elif not mine.is_done:
            self._await_dependencies(mine, requester, kept)
        return mine

    def execute(self, context: Any) -> None:
        """As the base; nothing to push."""
        super().execute(context)

    def look_again(self, context: Any, event: Any, **kept: Any) -> None:
        """As the base; nothing to push."""
        super().look_again(context, event, **kept)

    def _join(self, mine: Claim, requester: Requester) -> None:
        """Another DAG run executes this identity: its end is ours."""
        answer = start_or_join(
            stores().runs,
            [(mine.identity, self.stream.stream_name)],
            requester=requester,
            control_version=mine.control_version,
            redo=False,
        )
        raise_failed(answer)
        if answer.waiting:
            self.wait_for(answer.waiting, requester)

    def _await_dependencies(
        self, mine: Claim, requester: Requester, kept: Mapping[str, Any]
    ) -> None:
        needed = kept.get("needed") or wanted_dependencies(stores(), mine)
        wanted = [(RunIdentity.parse(run_id), stream) for run_id, stream in needed]
        try:
            answer = start_or_join(
                stores().runs,
                [(identity, stream) for identity, stream in wanted if identity],
                requester=requester,
                control_version=mine.control_version,
                redo=False,
            )
            raise_failed(answer)
        except (ControlError, AirflowFailException) as exc:
            stores().runs.mark(
                mine.identity,
                "failed",
                f"A dependency failed: {exc}",
                stream_name=self.stream.stream_name,
                dag_run_id=requester.dag_run_id,
            )
            raise
        if answer.waiting:
            self.wait_for(answer.waiting, requester, needed=needed)


class RunNotebook(RunDependencies):
    """In a process DAG: execute the notebook, once whatever it needs is done.

    It looks at the dependencies itself too, so that a DAG laid out before a dependency was
    added, or one whose `dependencies` task was marked, still keeps the promise.
    """

    ui_color = "#d0dce8"
    operator_extra_links = (NotebookLink(),)

    def __init__(self, *, run_notebook: RunNotebookCallable, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_notebook = run_notebook
        self.run_id: str | None = None

    def advance(self, context: Any, kept: Mapping[str, Any]) -> Claim:
        """Claim, dependencies, notebook."""
        mine = super().advance(context, kept)
        self.run_id = mine.identity.run_id
        if mine.is_guest or mine.is_done:
            log.info("%s is done already: nothing to run", mine.identity.run_id)
        else:
            self._run(mine, context)
        return mine

    def _run(self, mine: Claim, context: Any) -> None:
        ti, dag_run = context["ti"], context["dag_run"]
        will_retry = ti.try_number <= ti.max_tries
        try:
            self.run_notebook(
                identity=mine.identity,
                stream_name=self.stream.stream_name,
                dag_run_id=dag_run.run_id,
                clear_number=dag_run.clear_number or 0,
                control_version=mine.control_version,
                will_retry=will_retry,
                log_url=ti.log_url,
            )
        except ContractError:
            announce_failure(self.stream, mine.identity, stores().runs)
            raise
        except NotebookFailed as exc:
            if not will_retry:
                announce_failure(self.stream, mine.identity, stores().runs)
            # Without the traceback of our own frames: the notebook's is in the log above.
            raise AirflowException(str(exc)) from None
        announce_recovery(self.stream, mine.identity, stores().runs)


class StreamResult(_ControlTask):
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


def raise_failed(answer: Answer) -> None:
    """Fail the task, without retries, with the message of the process run that failed."""
    if answer.failed is not None:
        raise AirflowFailException(_failure(answer.failed))


def _failure(run: ProcessRun) -> str:
    return f"{run.identity.run_id} failed: {run.message or 'no message'}"
