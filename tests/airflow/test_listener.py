"""Only a person's mark is carried over; what Airflow's scheduler finds dead is no mark."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def test_the_schedulers_failed_is_no_persons_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "AIRFLOW_HOME" not in os.environ:
        monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    from millrace.airflow import listener

    marked: list[str] = []
    monkeypatch.setattr(listener, "_task_marked", lambda task, state: marked.append(state))
    for error in ("Executor reported that the task was killed", RuntimeError("heartbeat"), None):
        listener.on_task_instance_failed(previous_state=None, task_instance=None, error=error)
    assert marked == []
    by_hand = "TaskInstance's state was manually set to `failed`."
    listener.on_task_instance_failed(previous_state=None, task_instance=None, error=by_hand)
    assert marked == ["failed"]
