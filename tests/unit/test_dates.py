"""Which data date a DAG run works on: every source of the day, and their order."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from millrace.airflow.dates import Tick, data_date, opens_generation
from millrace.errors import ContractError
from millrace.model import Stream

LATE = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)


def tick(run_type: str = "scheduled", logical: datetime | None = None, **conf: Any) -> Tick:
    return Tick(run_type, LATE, logical, conf)


def test_a_scheduled_tick_works_on_its_own_day_in_the_streams_time_zone() -> None:
    assert data_date(tick(), Stream("s")) == date(2026, 11, 20)
    assert data_date(tick(), Stream("s", time_zone="Europe/Vienna")) == date(2026, 11, 21)


def test_a_backfill_works_on_its_logical_date() -> None:
    logical = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert data_date(tick("backfill", logical), Stream("s")) == date(2026, 1, 2)


def test_a_pinned_day_beats_the_tick_and_a_parameter_beats_both() -> None:
    pinned = Stream("s", is_live=False, data_date=date(2025, 12, 31))
    assert data_date(tick(), pinned) == date(2025, 12, 31)
    assert data_date(tick("manual", data_date="2024-02-29"), pinned) == date(2024, 2, 29)


def test_a_day_kept_in_the_row_is_ignored_while_the_stream_is_live() -> None:
    stream = Stream("s", is_live=True, data_date=date(2025, 12, 31))
    assert data_date(tick(), stream) == date(2026, 11, 20)


def test_a_parameter_that_is_no_day_is_refused_with_the_cure() -> None:
    with pytest.raises(ContractError, match="YYYY-MM-DD"):
        data_date(tick("manual", data_date="20.11.2026"), Stream("s"))


@pytest.mark.parametrize(
    ("run_type", "conf", "opens"),
    [
        ("scheduled", {}, True),
        ("manual", {}, False),
        ("manual", {"rerun": True}, True),
        ("backfill", {}, False),
        ("operator_triggered", {}, False),
    ],
)
def test_ticks_and_reruns_open_a_generation(
    run_type: str, conf: dict[str, Any], opens: bool
) -> None:
    assert opens_generation(tick(run_type, **conf)) is opens
