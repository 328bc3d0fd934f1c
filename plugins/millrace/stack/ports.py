"""Ports: which of the stack's are taken, by whom, and which are free."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

import psutil

from millrace.errors import PortTaken
from millrace.stack.part import Part

HOST = "127.0.0.1"


def require_free(parts: Sequence[Part]) -> None:
    """PortTaken, one message for every part whose port is taken, before anything starts."""
    waiting = [(part, part.port) for part in parts if part.port and not part.is_running]
    faults = [
        f"port {port.number} for {part.name} {reason} (set {port.setting} to another)"
        for part, port in waiting
        if (reason := _why_not(port.number))
    ]
    numbers = [port.number for _, port in waiting]
    faults += [
        f"port {port.number} for {part.name} is given to another part too (set {port.setting})"
        for part, port in waiting
        if numbers.count(port.number) > 1
    ]
    if faults:
        raise PortTaken("Cannot start: " + "; ".join(faults) + ".")


def free_ports(count: int) -> list[int]:
    """That many different ports that nothing listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def listens(number: int) -> bool:
    """Whether something accepts connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, number)) == 0


def _why_not(number: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
        except PermissionError:
            return "needs root"
        except OSError:
            return f"is taken{_by_whom(number)}"
    return ""


def _by_whom(number: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return ""
    for c in connections:
        if c.status == psutil.CONN_LISTEN and c.laddr[1:] == (number,) and c.pid:
            try:
                return f" by {psutil.Process(c.pid).name()} (process {c.pid})"
            except psutil.NoSuchProcess:
                return ""
    return ""
