"""Starts one notebook kernel inside its limits: `python -P -m millrace.runner.kernel [--limit-mb=N] -f FILE`.

The kernel dies with the task that started it, is the first to go when the machine runs out of
memory, and gets MemoryError where it asks for more than its limit.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

LIMIT_OPTION = "--limit-mb="
HEADROOM_BYTES = 64 << 20
"""Given back once the limit was hit, so that the kernel can still say so."""
PR_SET_PDEATHSIG = 1
OOM_SCORE_ADJ = "500"


def main(arguments: list[str]) -> None:
    """Set the limits, then be an IPython kernel until told to stop."""
    limit_mb = next((a[len(LIMIT_OPTION) :] for a in arguments if a.startswith(LIMIT_OPTION)), "")
    _die_with_parent()
    _volunteer_for_oom()
    if limit_mb:
        _limit_memory(int(limit_mb) << 20)
    _serve([a for a in arguments if not a.startswith(LIMIT_OPTION)], is_limited=bool(limit_mb))


def _die_with_parent() -> None:
    """SIGKILL of the task ends its kernel too; nothing else would tell it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.environ.get("JPY_PARENT_PID") not in (None, str(os.getppid())):
        os._exit(1)  # it died before the request took hold


def _volunteer_for_oom() -> None:
    # A container may forbid it; then the kernel is as likely a victim as any other process.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJ)


def _limit_memory(limit_bytes: int) -> None:
    # RLIMIT_DATA, not RLIMIT_AS: libraries reserve address space that they never touch
    # (import pandas aborts under RLIMIT_AS of 256 MB and passes under RLIMIT_DATA).
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes + HEADROOM_BYTES))


def _serve(arguments: list[str], *, is_limited: bool) -> None:
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize(arguments)
    # As in JupyterLab, what lies beside the notebook can be imported; only now, so that it
    # cannot stand in for a module that the kernel itself needs.
    sys.path.insert(0, "")
    if is_limited and app.shell is not None:
        app.shell.set_custom_exc((MemoryError,), _report_memory_error)
    app.start()


def _report_memory_error(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType,
    tb_offset: int | None = None,
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


if __name__ == "__main__":
    main(sys.argv[1:])
