"""`run --wait`: what it shows process by process, and how it says why a run failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import pytest

from millrace.airflow.client import AirflowClient
from millrace.cli import following as following_module
from millrace.cli import running
from millrace.cli.following import Following
from millrace.control.base import LogEntry, RunStore
from millrace.model import ProcessRun, RunIdentity, RunState, StreamRun

DAY = date(2026, 11, 20)
START = datetime(2026, 11, 20, 8, tzinfo=UTC)
RUN = StreamRun("shop", DAY, 2, "v")
MESSAGE = "cell 3: ValueError: no column price"


@dataclass
class Moment:
    """What Airflow and the control tables say at one look."""

    state: str
    run: StreamRun | None = RUN
    processes: dict[str, RunState] = field(default_factory=dict)


class Script:
    """Plays both sources, moment after moment; the last one stays."""

    def __init__(self, *moments: Moment) -> None:
        self.moments = list(moments)
        self.now = moments[0]

    def dag_run(self, dag_id: str, dag_run_id: str) -> dict[str, Any]:
        self.now = self.moments.pop(0) if self.moments else self.now
        return {"state": self.now.state}

    def run_url(self, dag_id: str, dag_run_id: str) -> str:
        return f"http://airflow/{dag_id}/{dag_run_id}"

    def task_instances(self, dag_id: str, dag_run_id: str) -> list[dict[str, Any]]:
        return [{"task_id": "gate", "state": "failed"}, {"task_id": "a", "state": "success"}]

    def stream_run_of(self, stream_name: str, dag_run_id: str) -> StreamRun | None:
        return self.now.run

    def process_runs(self, identities: Sequence[RunIdentity]) -> dict[RunIdentity, ProcessRun]:
        states = self.now.processes
        return {i: _row(i, states[i.process_name]) for i in identities if i.process_name in states}

    def log(self, **_: Any) -> list[LogEntry]:
        identities = [
            RunIdentity(n, DAY, 2) for n, s in self.now.processes.items() if s != "queued"
        ]
        return [_entry(i, str(self.now.processes[i.process_name])) for i in identities]


def _row(identity: RunIdentity, state: RunState) -> ProcessRun:
    return ProcessRun(
        identity=identity,
        stream_name="shop",
        state=state,
        fence=1,
        control_version="v",
        dag_run_id=None,
        requested_by="manual__1#0",
        queued_at=START,
        heartbeat_at=None,
        ended_at=None,
        message=None,
    )


def _entry(identity: RunIdentity, status: str) -> LogEntry:
    return LogEntry(
        run_id=identity.run_id,
        identity=identity,
        stream_name="shop",
        attempt=1,
        status=status,
        started_at=START,
        ended_at=START + timedelta(seconds=65),
        source_rows=10,
        target_rows=9,
        tokens_in=None,
        tokens_out=None,
        llm_seconds=None,
        message=MESSAGE if status == "failed" else "",
        control_version="v",
        executed_notebook_uri=None,
        dag_run_id=None,
        fence=1,
    )


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following_module, "POLL_S", 0)


def _following(script: Script) -> Following:
    store, client = cast(RunStore, script), cast(AirflowClient, script)
    return Following(store, client, "shop", "manual__1", ["a", "b"])


def test_each_change_is_a_line_with_state_attempt_time_and_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = Script(
        Moment("queued", run=None),
        Moment("running", processes={"a": "running"}),
        Moment("running", processes={"a": "running"}),
        Moment("running", processes={"a": "success", "b": "queued"}),
        Moment("success", processes={"a": "success", "b": "success"}),
    )
    view = running.follow(_following(script), "LINK")
    assert view.state == "success"
    assert capsys.readouterr().out.splitlines() == [
        "a: running, attempt 1, rows 10 -> 9",
        "a: success, attempt 1, 1 min 5 s, rows 10 -> 9",
        "b: queued",
        "b: success, attempt 1, 1 min 5 s, rows 10 -> 9",
        "shop 2026-11-20 generation 2: success",
    ]


def test_a_failure_names_process_cell_error_and_link(capsys: pytest.CaptureFixture[str]) -> None:
    script = Script(Moment("failed", processes={"a": "success", "b": "failed"}))
    following = _following(script)
    view = running.follow(following, "LINK", quiet=True)
    running.say_why(following, view, "LINK")
    err = capsys.readouterr().err
    assert f"millrace: b failed: {MESSAGE}" in err
    assert "http://airflow/process__b/b__2026-11-20__g2" in err
    assert "a failed" not in err


def test_a_failure_outside_any_process_names_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    following = _following(Script(Moment("failed", run=None)))
    view = running.follow(following, "LINK", quiet=True)
    running.say_why(following, view, "LINK")
    assert "millrace: shop failed at gate: LINK" in capsys.readouterr().err


def test_before_its_first_task_every_process_is_waiting() -> None:
    view = _following(Script(Moment("queued", run=None))).look()
    assert [(p.process, p.state) for p in view.processes] == [("a", "waiting"), ("b", "waiting")]
