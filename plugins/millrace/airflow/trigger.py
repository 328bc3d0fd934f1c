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
from millrace.airflow.stores import stores
from millrace.errors import ControlUnavailable
from millrace.model import LIVE_STATES, ProcessRun, RunIdentity

log = logging.getLogger(__name__)

POLL_S = 0.5
CHECK_AIRFLOW_S = 10.0


class Watch:
    """One look at the arbiter's rows for all that wait in this triggerer.

    A thousand waiters ask at the same moment as one would: the look that is under way serves
    everybody who comes before it begins.
    """

    def __init__(self) -> None:
        self._wanted: set[RunIdentity] = set()
        self._next: asyncio.Task[Mapping[RunIdentity, ProcessRun]] | None = None

    async def look(self, identities: Sequence[RunIdentity]) -> Mapping[RunIdentity, ProcessRun]:
        """The rows of (at least) these runs, at most POLL_S from now; ControlUnavailable."""
        self._wanted.update(identities)
        if self._next is None:
            self._next = asyncio.create_task(self._gather())
        return await asyncio.shield(self._next)

    async def _gather(self) -> Mapping[RunIdentity, ProcessRun]:
        await asyncio.sleep(POLL_S)
        wanted, self._wanted, self._next = list(self._wanted), set(), None
        return await asyncio.to_thread(stores().runs.process_runs, wanted)


WATCH = Watch()


class ProcessRunTrigger(BaseTrigger):
    """Fires when a run failed, when all succeeded, or when a live one has lost its DAG run.

    The event is `{"look": True}`: the task reads the rows itself, so that what it acts on is
    the arbiter's word at that moment and not a message from the past.
    """

    def __init__(self, run_ids: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_ids = list(run_ids)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for the metadata database."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"run_ids": self.run_ids}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the task has something to do."""
        identities = [i for i in map(RunIdentity.parse, self.run_ids) if i is not None]
        checked = time.monotonic()
        while True:
            runs = await self._look(identities)
            if runs is not None and _is_over(runs, identities):
                break
            if runs is not None and time.monotonic() - checked > CHECK_AIRFLOW_S:
                checked = time.monotonic()
                if await _has_lost_one(runs, identities):
                    break
        yield TriggerEvent({"look": True})

    async def _look(
        self, identities: Sequence[RunIdentity]
    ) -> Mapping[RunIdentity, ProcessRun] | None:
        try:
            return await WATCH.look(identities)
        except ControlUnavailable as exc:
            log.warning("Waiting goes on, the control database does not answer: %s", exc)
            return None


def _is_over(runs: Mapping[RunIdentity, ProcessRun], identities: Sequence[RunIdentity]) -> bool:
    states = [runs[i].state if i in runs else "absent" for i in identities]
    return "failed" in states or all(state not in LIVE_STATES for state in states)


async def _has_lost_one(
    runs: Mapping[RunIdentity, ProcessRun], identities: Sequence[RunIdentity]
) -> bool:
    """A run is live in the control tables, yet its DAG run has ended or never was."""
    for identity in (i for i in identities if i in runs and runs[i].state in LIVE_STATES):
        run_id = runs[identity].dag_run_id or identity.run_id
        state = await sync_to_async(childruns.state_of)(identity.process_name, run_id)
        if state is None or state in childruns.ENDED:
            return True
    return False
