"""Coroutines run from a notebook's cell: in a thread of their own, so that the kernel's own
running event loop does not matter, while the cell's thread reports and can be interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """A coroutine at work in its own thread and event loop."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._future: Future[T] = Future()
        self._task: asyncio.Task[T] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(start,), name="millrace notebook", daemon=True
        )
        self._thread.start()

    def wait(self, on_tick: Callable[[], None] = lambda: None, *, tick_s: float = 0.2) -> T:
        """Its result, or its exception; `on_tick` is called in this thread meanwhile.

        Whatever `on_tick` or the keyboard raises here ends the coroutine first.
        """
        try:
            while not wait([self._future], timeout=tick_s).done:
                on_tick()
            return self._future.result()
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """End the coroutine and wait until its thread is gone."""
        self._started.wait()
        if self._loop and self._task and not self._future.done():
            with suppress(RuntimeError):  # the loop has just closed: it is over already
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _run(self, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        async def main() -> T:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.ensure_future(start())
            self._started.set()
            return await self._task

        try:
            self._future.set_result(asyncio.run(main()))
        except asyncio.CancelledError:
            self._future.set_exception(CancelledError())
        except BaseException as exc:  # noqa: BLE001 - handed over to the waiting thread whole
            self._future.set_exception(exc)
        finally:
            self._started.set()


def run_async(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end from sync code, inside or outside a running loop."""
    return Background(start).wait()
