"""What every task shares: patience with the control database, and waiting without a slot."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from millrace.airflow.requests import Answer, Requester
from millrace.airflow.trigger import ProcessRunTrigger
from millrace.errors import ContractError, ControlError, ControlUnavailable
from millrace.model import RunIdentity

log = logging.getLogger(__name__)

PATIENCE_S = 240.0
"""How long a task waits for a control database that is away before it fails (and is retried)."""
PAUSE_S = 5.0


class ControlTask(BaseOperator):
    """A task that asks the arbiter, and comes back when there is something new to ask."""

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


def raise_failed(answer: Answer) -> None:
    """Fail the task, without retries, with the message of the process run that failed."""
    if answer.failed is not None:
        run = answer.failed
        told = run.message or "no message"
        raise AirflowFailException(f"{run.identity.run_id} failed: {told}")
