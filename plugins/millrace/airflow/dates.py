"""Which data date a DAG run works on, and whether it opens a generation: pure, without a clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from millrace.errors import ContractError
from millrace.model import Stream


@dataclass(frozen=True)
class Tick:
    """What Airflow says of a DAG run, as far as dates go."""

    run_type: str
    """scheduled, backfill, manual, operator_triggered, ..."""
    run_after: datetime
    logical_date: datetime | None
    conf: Mapping[str, Any]
    """The DAG run's params: `data_date` (ISO day or None) and `rerun` (bool)."""


def data_date(tick: Tick, stream: Stream) -> date:
    """The calendar day, in the stream's time zone, whose data the run works on.

    A parameter wins; then the row's pinned day (is_live false); then the tick's own day: the
    logical date of a backfill, `run_after` of everything else. Raises ContractError for a
    parameter that is no ISO day.
    """
    given = tick.conf.get("data_date")
    if given:
        return _day(given)
    if not stream.is_live and stream.data_date is not None:
        return stream.data_date
    moment = tick.logical_date if tick.run_type == "backfill" else None
    return (moment or tick.run_after).astimezone(ZoneInfo(stream.time_zone)).date()


def opens_generation(tick: Tick) -> bool:
    """Every scheduled tick opens the next generation of its data date, and so does `rerun`."""
    return tick.run_type == "scheduled" or bool(tick.conf.get("rerun"))


def _day(given: object) -> date:
    try:
        return date.fromisoformat(str(given))
    except ValueError as exc:
        raise ContractError(
            f"data_date={given!r} is not a day.", cure="Write it as YYYY-MM-DD, e.g. 2026-11-20."
        ) from exc
