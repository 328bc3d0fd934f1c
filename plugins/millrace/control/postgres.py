"""Control rows and snapshots in Postgres (control.stream ... control.snapshot)."""

from __future__ import annotations

import json
from pathlib import Path

from psycopg2.extras import Json

from millrace.control.base import Snapshot
from millrace.control.session import open_session
from millrace.errors import UnknownName
from millrace.model import ControlRows
from millrace.sqlfile import load_statements

STATEMENTS = load_statements(Path(__file__).with_name("queries.sql"))
"""Every statement of the room, by name."""

_LOAD_DEADLINE_S = 20.0
_NO_SNAPSHOT = "The DAG processor takes one when it first reads the control tables."


class PostgresControl:
    """The ControlStore of base.py; a connection per call, each with a deadline."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def read_rows(self, *, deadline_s: float = 2.0) -> ControlRows:
        """Every control row, in one statement and so in one state; see ControlStore."""
        with open_session(self._url, deadline_s) as session:
            [found] = session.rows(STATEMENTS["read_rows"])
        rows = found["rows"]
        return ControlRows(**{**rows, "busy": frozenset(rows["busy"])})

    def save_snapshot(self, snapshot: Snapshot, *, deadline_s: float = 2.0) -> None:
        """Keep a version; see ControlStore."""
        values = {
            "control_version": snapshot.control_version,
            "content": Json(snapshot.content, dumps=_compact),
            "format": snapshot.format,
        }
        with open_session(self._url, deadline_s) as session:
            session.rows(STATEMENTS["save_snapshot"], values)

    def load_snapshot(self, control_version: str | None = None) -> Snapshot:
        """One version, or the latest; UnknownName where there is none."""
        values = {"control_version": control_version}
        with open_session(self._url, _LOAD_DEADLINE_S) as session:
            found = session.row(STATEMENTS["load_snapshot"], values)
        if found is None:
            raise UnknownName(
                f"No snapshot {control_version} in control.snapshot."
                if control_version
                else "No snapshot has been taken yet.",
                cure=_NO_SNAPSHOT,
            )
        return Snapshot(**found)

    def latest_version(self) -> str:
        """The newest snapshot's control version; UnknownName where there is none."""
        with open_session(self._url, _LOAD_DEADLINE_S) as session:
            found = session.row(STATEMENTS["latest_version"])
        if found is None:
            raise UnknownName("No snapshot has been taken yet.", cure=_NO_SNAPSHOT)
        return str(found["control_version"])

    def prune_snapshots(self, *, keep_latest: int) -> int:
        """Delete versions that no run refers to, beyond the latest ones; how many went."""
        with open_session(self._url, _LOAD_DEADLINE_S) as session:
            return len(session.rows(STATEMENTS["prune_snapshots"], {"keep_latest": keep_latest}))


def _compact(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))
