"""Waiting for process runs without a worker slot: the triggerer watches the arbiter's rows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from millrace.airflow import childruns
from millrace.control import open_control
from millrace.errors import ControlUnavailable
from millrace.model import LIVE_STATES, ProcessRun, RunIdentity
from millrace.settings import Settings

log = logging.getLogger(__name__)

POLL_S = 0.5
POLL_LONGEST_S = 3.0
CHECK_AIRFLOW_S = 10.0


class ProcessRunTrigger(BaseTrigger):
    """Fires when one of the runs failed, when all succeeded, or when a live one has lost its DAG run.

    The event is `{"look": True}`: the task reads the rows itself, so that what it acts on is
    the arbiter's word at that moment and not a message from the past.
    """

    def __init__(self, run_ids: Sequence[str]) -> None:
        super().__init__()
        self.run_ids = list(run_ids)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for the metadata database."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"run_ids": self.run_ids}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the task has something to do."""
        identities = [i for i in map(RunIdentity.parse, self.run_ids) if i is not None]
        started = checked = time.monotonic()
        while not await self._is_over(identities):
            now = time.monotonic()
            if now - checked > CHECK_AIRFLOW_S:
                checked = now
                if await self._lost_one(identities):
                    break
            await asyncio.sleep(min(POLL_LONGEST_S, POLL_S + (now - started) / 60))
        yield TriggerEvent({"look": True})

    async def _is_over(self, identities: Sequence[RunIdentity]) -> bool:
        runs = await self._runs(identities)
        if runs is None:
            return False
        states = [runs[i].state if i in runs else "absent" for i in identities]
        return "failed" in states or all(state not in LIVE_STATES for state in states)

    async def _lost_one(self, identities: Sequence[RunIdentity]) -> bool:
        """A run is live in the control tables, yet its DAG run has ended or never was."""
        runs = await self._runs(identities) or {}
        live = [i for i in identities if i in runs and runs[i].state in LIVE_STATES]
        for identity in live:
            run_id = runs[identity].dag_run_id or identity.run_id
            state = await sync_to_async(childruns.state_of)(identity.process_name, run_id)
            if state is None or state in childruns.ENDED:
                # The row may have ended between the two looks.
                return not await self._is_over([identity])
        return False

    async def _runs(
        self, identities: Sequence[RunIdentity]
    ) -> Mapping[RunIdentity, ProcessRun] | None:
        store = open_control(Settings.load())
        try:
            return await asyncio.to_thread(store.process_runs, identities)
        except ControlUnavailable as exc:
            log.warning("Waiting goes on, the control database does not answer: %s", exc)
            return None
