"""What is wrong with the rows as they stand, and why a stream has no DAG. Asks, never changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from millrace.airflow.client import AirflowClient
from millrace.cli import stores
from millrace.control.base import ControlStore
from millrace.errors import AirflowError, UnknownName
from millrace.model import ControlRows
from millrace.plan import Fault, Plan, make_plan, spec
from millrace.runner.contract import check_notebook
from millrace.settings import Settings
from millrace.stack.waiting import wait_until

TAKEN_OVER_S = 5.0
"""The control bundle looks once a second; after this long a change was not taken over."""


@dataclass(frozen=True)
class Finding:
    """One line of `millrace check`; every kind but a note is a fault."""

    kind: str
    stream: str
    where: str
    message: str
    cure: str


def find(settings: Settings) -> list[Finding]:
    """Everything `millrace check` says: rows, notebooks, what is held back, what Airflow took over."""
    store = stores.control(settings)
    rows = store.read_rows()
    plan = make_plan(rows, _last_content(store))
    return [
        *_of_rows(plan),
        *_of_notebooks(plan, settings),
        *_of_freshness(store, plan, rows),
        *_of_imports(settings),
    ]


def why_no_dag(settings: Settings, stream_name: str) -> str:
    """The reasons that concern one stream, in one line."""
    findings = find(settings)
    told = [f for f in findings if f.stream in ("", stream_name) or stream_name in f.message]
    if not told:
        return "Airflow has not taken it over; is the dag-processor running? See `millrace status`."
    return " ".join(f"{f.where}: {f.message} {f.cure}".strip() for f in told)


def _of_rows(plan: Plan) -> Iterator[Finding]:
    if plan.held_back:
        yield Finding("held back", "", "control tables", plan.held_back, "")
    for stream, faults in plan.faults.items():
        yield from (_fault("row", stream, fault) for fault in faults)
    yield from (_fault("row", "", fault) for fault in plan.unplaced)
    yield from (Finding("note", "", "", note, "") for note in plan.notes)


def _of_notebooks(plan: Plan, settings: Settings) -> Iterator[Finding]:
    for stream, entry in plan.content["streams"].items():
        for row in entry["processes"]:
            found = spec(plan.content, row["process_name"])
            for fault in check_notebook(found, settings.notebooks_dir):
                yield Finding("notebook", stream, fault.where, fault.message, fault.cure)


def _of_freshness(store: ControlStore, plan: Plan, rows: ControlRows) -> Iterator[Finding]:
    wanted = plan.control_version

    def is_taken_over() -> bool:
        return store.read_rows().latest_version == wanted

    taken_over = rows.latest_version == wanted or wait_until(is_taken_over, timeout_s=TAKEN_OVER_S)
    if not taken_over:
        message = f"The rows are control version {wanted}, Airflow is at {rows.latest_version}."
        cure = "Is the dag-processor running? See `millrace status`."
        yield Finding("not taken over", "", "control bundle", message, cure)


def _of_imports(settings: Settings) -> Iterator[Finding]:
    try:
        errors = AirflowClient.of(settings).import_errors()
    except AirflowError as exc:
        yield Finding("airflow", "", settings.airflow_url, exc.message, exc.cure or "")
        return
    for error in errors:
        last_line = str(error["stack_trace"]).strip().splitlines()[-1]
        yield Finding("airflow", "", str(error["filename"]), last_line, "")


def _last_content(store: ControlStore) -> dict[str, object] | None:
    try:
        return dict(store.load_snapshot().content)
    except UnknownName:
        return None


def _fault(kind: str, stream: str, fault: Fault) -> Finding:
    return Finding(kind, stream, fault.where, fault.message, fault.cure)
