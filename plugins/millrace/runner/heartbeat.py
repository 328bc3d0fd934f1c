"""Says every few seconds that an attempt lives, and learns that it has been taken over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from millrace.control.base import RunStore
from millrace.errors import ControlError, StaleFence
from millrace.model import Attempt

log = logging.getLogger(__name__)

INTERVAL_S = 5.0


class Heartbeat:
    """Beats in a thread of its own while the context lasts.

    A control database that does not answer is waited for; `on_lost` is called once when
    another attempt has taken the run over, and `lost` holds the reason.
    """

    def __init__(
        self,
        store: RunStore,
        attempt: Attempt,
        *,
        on_lost: Callable[[], None],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._store = store
        self._attempt = attempt
        self._on_lost = on_lost
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="millrace-heartbeat", daemon=True)
        self.lost: StaleFence | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        # A beat that hangs on a dead connection must not hold the outcome up.
        self._thread.join(timeout=1.0)

    def raise_if_lost(self) -> None:
        """StaleFence when the run belongs to another attempt now."""
        if self.lost:
            raise self.lost

    def _beat(self) -> None:
        while not self._ended.wait(self._interval_s):
            try:
                self._store.heartbeat(self._attempt)
            except StaleFence as exc:
                self.lost = exc
                self._on_lost()
                return
            except ControlError as exc:
                log.warning(
                    "The control database does not take the heartbeat; the notebook goes on: %s",
                    exc,
                    extra={"action": "heartbeat_failed", "run_id": self._attempt.run_id},
                )
