"""Ends a kernel from outside the thread that talks to it: too late, taken over, or told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Literal

StopReason = Literal["timeout", "fence", "signal"]
INTERRUPT_GRACE_S = 5.0


class KernelGuard:
    """Stops one kernel, for the first reason that comes, whether it runs already or not.

    Safe to use from any thread; a kernel that starts after the stop is killed as it starts.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._later: threading.Timer | None = None
        self.reason: StopReason | None = None

    @property
    def exit_code(self) -> int | None:
        """How the kernel ended (negative: by that signal); None while it runs or never started."""
        return self._process.poll() if self._process else None

    def attach(self, process: subprocess.Popen[bytes]) -> None:
        """The kernel has been started; it leads its own process group."""
        with self._lock:
            self._process = process
            if self.reason:
                self._kill()

    def detach(self) -> None:
        """The kernel is done: end what it left behind in its process group."""
        with self._lock:
            if self._later:
                self._later.cancel()
            self._signal(signal.SIGKILL)

    def stop(self, reason: StopReason, *, grace_s: float = INTERRUPT_GRACE_S) -> None:
        """Interrupt the kernel, and kill its process group after the grace; at once for 0."""
        with self._lock:
            self.reason = self.reason or reason
            if grace_s <= 0:
                self._kill()
                return
            self._signal(signal.SIGINT)
            self._later = threading.Timer(grace_s, self._kill)
            self._later.daemon = True
            self._later.start()

    @contextlib.contextmanager
    def deadline(self, timeout_s: float, *, grace_s: float = INTERRUPT_GRACE_S) -> Iterator[None]:
        """Within it, the kernel is stopped once `timeout_s` have passed."""
        timer = threading.Timer(
            timeout_s, self.stop, args=("timeout",), kwargs={"grace_s": grace_s}
        )
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def termination(self) -> Iterator[None]:
        """Within it, SIGTERM stops the kernel first and then does what it did before.

        Only the main thread can take signals; in another one this changes nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGTERM)

        def on_term(number: int, frame: FrameType | None) -> None:
            self.stop("signal", grace_s=0)
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, on_term)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _kill(self) -> None:
        with self._lock:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # start_new_session made the kernel its group's leader: its pid names the group.
            os.killpg(self._process.pid, number)
