"""The tasks of a process DAG: what it needs first, and its notebook."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operatorlink import BaseOperatorLink
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from millrace.airflow.claims import Claim, claim, wanted_dependencies
from millrace.airflow.notify import announce_failure, announce_recovery
from millrace.airflow.operators.base import ControlTask, raise_failed
from millrace.airflow.requests import Requester, start_or_join
from millrace.airflow.stores import settings, stores
from millrace.errors import ContractError, ControlError, NotebookFailed
from millrace.model import RunIdentity, Stream

log = logging.getLogger(__name__)

RunNotebookCallable = Callable[..., Any]
"""Called with identity, stream_name, dag_run_id, clear_number, control_version, will_retry and
log_url; raises NotebookFailed or ContractError. dags/stream.py binds it to the runner."""


class NotebookLink(BaseOperatorLink):
    """A button on the task that opens the executed notebook."""

    name = "Executed notebook"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """URL of the page plugins/millrace_ui.py serves for the process run."""
        run_id = getattr(operator, "run_id", None)
        return f"{settings().airflow_url}/millrace/runs/{run_id}/notebook" if run_id else ""


class RunDependencies(ControlTask):
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
