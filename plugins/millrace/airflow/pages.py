"""Pages that Airflow's API server shows: the executed notebook of a process run.

Airflow guards its own routes, not those of a plugin: `get_user` does it here, for a bearer
token as for the UI's cookie.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse

from millrace.airflow.stores import settings, stores
from millrace.control.base import LogEntry
from millrace.errors import LakeError
from millrace.lake import open_lake
from millrace.model import RunIdentity

SANDBOX = (
    "sandbox allow-popups; default-src 'none'; img-src data:;"
    " style-src 'unsafe-inline'; font-src data:"
)
"""A notebook's output is data: it may look like something, and do nothing."""

app = FastAPI(title="Millrace", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/runs/{run_id}/notebook", dependencies=[Depends(get_user)])
def notebook(run_id: str, attempt: int | None = None) -> HTMLResponse:
    """The executed notebook of a process run's last (or given) attempt."""
    identity = RunIdentity.parse(run_id)
    if identity is None:
        raise HTTPException(404, "A run is named <process>__<data date>__g<generation>.")
    entry = _attempt(identity, attempt)
    if entry.executed_notebook_uri is None:
        return _page(_not_executed(entry))
    key = f"{identity.attempt_folder(entry.fence)}/notebook.html"
    try:
        body = open_lake(settings().lake_url).read_bytes(key).decode()
    except LakeError as exc:
        raise HTTPException(404, str(exc)) from exc
    return _page(body)


def _attempt(identity: RunIdentity, attempt: int | None) -> LogEntry:
    entries: Sequence[LogEntry] = [
        entry
        for entry in stores().runs.log(process_name=identity.process_name, limit=500)
        if entry.identity == identity and attempt in (None, entry.attempt)
    ]
    if not entries:
        raise HTTPException(404, f"{identity.run_id} has no attempt in the run log yet.")
    return entries[0]


def _not_executed(entry: LogEntry) -> str:
    told = html.escape(entry.message or "It is still running, or ended before the notebook began.")
    title = html.escape(f"{entry.identity.run_id}, attempt {entry.attempt}: {entry.status}")
    return f"<!doctype html><title>{title}</title><h1>{title}</h1><p>{told}</p>"


def _page(body: str) -> HTMLResponse:
    headers = {"Content-Security-Policy": SANDBOX, "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(body, headers=headers)
