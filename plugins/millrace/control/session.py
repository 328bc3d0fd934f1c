"""A connection to the control database with a deadline on the client's own clock.

Server timeouts and TCP keepalives say nothing on a connection that is accepted and never
answered; polling an asynchronous connection does. A session is opened for one call and closed
after it: nothing is carried over a fork, a restart of the server or an idle night.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, parse_dsn
from psycopg2.extras import RealDictCursor

from millrace.errors import ControlError, ControlUnavailable, StaleFence, UnknownName

_EVENTS = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}
_STALE_FENCE = "MR001"


class Session:
    """One connection; every wait on it ends at the same deadline."""

    def __init__(self, database_url: str, deadline_s: float) -> None:
        self._ends_at = time.monotonic() + deadline_s
        self._deadline_s = deadline_s
        given = parse_dsn(database_url)
        # Dates inside JSON are spelled in the session's zone: the same everywhere.
        options = f"{given.get('options', '')} -c TimeZone=UTC".strip()
        self._connection = psycopg2.connect(database_url, options=options, async_=True)
        try:
            self._wait()
        except BaseException:
            self._connection.close()
            raise

    def rows(self, statement: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run one statement; its rows by column name, [] where it returns none."""
        cursor = self._connection.cursor(cursor_factory=RealDictCursor)
        cursor.execute(statement, values)
        self._wait()
        return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def row(self, statement: str, values: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Run one statement; its first row or None."""
        return next(iter(self.rows(statement, values)), None)

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        self._connection.close()

    def _wait(self) -> None:
        poller = select.poll()
        while (state := self._connection.poll()) != POLL_OK:
            left_s = self._ends_at - time.monotonic()
            poller.register(self._connection.fileno(), _EVENTS[state])
            if left_s <= 0 or not poller.poll(left_s * 1000):
                raise ControlUnavailable(
                    f"The control database did not answer within {self._deadline_s:g} s.",
                    cure="See `millrace status`.",
                )


@contextmanager
def open_session(
    database_url: str, deadline_s: float, *, transaction: bool = False
) -> Iterator[Session]:
    """A session for one call; with `transaction`, all or nothing of it.

    Raises ControlUnavailable, UnknownName, StaleFence or ControlError in place of the driver's errors.
    """
    with _translated(database_url):
        session = Session(database_url, deadline_s)
        try:
            if transaction:
                session.rows("BEGIN")
            yield session
            if transaction:
                session.rows("COMMIT")
        finally:
            session.close()


@contextmanager
def _translated(database_url: str) -> Iterator[None]:
    try:
        yield
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as exc:
        raise ControlUnavailable(
            f"The control database {_place(database_url)} does not answer: {_text(exc)}",
            cure="See `millrace status`.",
        ) from exc
    except psycopg2.Error as exc:
        raise _control_error(exc) from exc


def _control_error(exc: psycopg2.Error) -> ControlError:
    if exc.pgcode == _STALE_FENCE:
        return StaleFence(_text(exc))
    constraint = exc.diag.constraint_name or ""
    if constraint.endswith("control_version_fkey"):
        return UnknownName(
            f"No such snapshot: {exc.diag.message_detail}",
            cure="Save the snapshot of a control version before a run refers to it.",
        )
    return ControlError(f"The control database refused: {_text(exc)}")


def _text(exc: psycopg2.Error) -> str:
    return " ".join((exc.diag.message_primary or str(exc)).split())


def _place(database_url: str) -> str:
    try:
        parts = parse_dsn(database_url)
    except psycopg2.Error:
        return "(its URL cannot be read)"
    return f"{parts.get('dbname', '')} at {parts.get('host', 'local')}:{parts.get('port', '5432')}"
