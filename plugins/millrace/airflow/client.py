"""Airflow's REST API v2 as the command line needs it. Speaks HTTP; does not import Airflow."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from millrace.errors import AirflowError, UnknownName
from millrace.settings import Settings

TIMEOUT_S = 30.0

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Without a proxy: Airflow is on this machine or in this network."""


@dataclass
class AirflowClient:
    """One signed-in user of one Airflow; the token is fetched at the first call and renewed once.

    Every method raises AirflowError where the API does not answer or refuses, and UnknownName
    for a DAG or DAG run that is not there.
    """

    url: str
    user: str
    password: str = field(repr=False)
    _token: str = field(default="", repr=False)

    @classmethod
    def of(cls, settings: Settings) -> AirflowClient:
        """The client of the Airflow that the settings name."""
        return cls(settings.airflow_url, settings.airflow_user, settings.airflow_password)

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """The DAG as the API tells it, or None where there is none (yet) or it has gone stale."""
        try:
            found = self.get(f"/dags/{_id(dag_id)}")
        except UnknownName:
            return None
        return None if found.get("is_stale") else found

    def dags(self, *, tag: str | None = None) -> list[dict[str, Any]]:
        """Every DAG, or those with a tag."""
        found: list[dict[str, Any]] = []
        while True:
            query = {"limit": 100, "offset": len(found)} | ({"tags": tag} if tag else {})
            page = self.get(f"/dags?{urlencode(query)}")["dags"]
            found += page
            if len(page) < 100:
                return found

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any], *, dag_run_id: str | None = None
    ) -> str:
        """Start a run; its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf)}
        if dag_run_id is not None:
            body["dag_run_id"] = dag_run_id
        return str(self.post(f"/dags/{_id(dag_id)}/dagRuns", body)["dag_run_id"])

    def dag_run(self, dag_id: str, dag_run_id: str) -> dict[str, Any]:
        """A run with its state (queued, running, success, failed)."""
        return self.get(_run_path(dag_id, dag_run_id))

    def dag_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The newest 100 runs of a DAG, newest first."""
        found = self.get(f"/dags/{_id(dag_id)}/dagRuns?limit=100&order_by=-run_after")
        return list(found["dag_runs"])

    def task_instances(self, dag_id: str, dag_run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        found = self.get(f"{_run_path(dag_id, dag_run_id)}/taskInstances?limit=1000")
        return list(found["task_instances"])

    def task_log(self, dag_id: str, dag_run_id: str, task_id: str, try_number: int) -> list[str]:
        """The lines of a task's log."""
        path = f"{_run_path(dag_id, dag_run_id)}/taskInstances/{_id(task_id)}/logs/{try_number}"
        content = self.get(f"{path}?full_content=true")["content"]
        return [_line(entry) for entry in content]

    def import_errors(self) -> list[dict[str, Any]]:
        """DAG files that could not be read, with their stack traces."""
        return list(self.get("/importErrors?limit=100")["import_errors"])

    def run_url(self, dag_id: str, dag_run_id: str) -> str:
        """The run's page in Airflow's UI."""
        return f"{self.url}/dags/{_id(dag_id)}/runs/{_id(dag_run_id)}"

    def get(self, path: str) -> dict[str, Any]:
        """GET below /api/v2."""
        return self._call("GET", path)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a JSON body below /api/v2."""
        return self._call("POST", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH with a JSON body below /api/v2."""
        return self._call("PATCH", path, body)

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        renewed = not self._token
        self._token = self._token or self._sign_in()
        try:
            return self._send(method, f"/api/v2{path}", body)
        except urllib.error.HTTPError as exc:
            if exc.code == 401 and not renewed:
                self._token = ""
                return self._call(method, path, body)
            raise _refusal(exc, f"{method} {path.partition('?')[0]}") from exc

    def _sign_in(self) -> str:
        credentials = {"username": self.user, "password": self.password}
        try:
            return str(self._send("POST", "/auth/token", credentials)["access_token"])
        except urllib.error.HTTPError as exc:
            raise AirflowError(
                f"Airflow at {self.url} does not take the password of {self.user} ({exc.code}).",
                cure="Is it this stack's Airflow? See `millrace status`.",
            ) from exc

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with _DIRECT.open(request, timeout=TIMEOUT_S) as response:
                return json.loads(response.read() or b"{}")  # type: ignore[no-any-return]
        except urllib.error.HTTPError:
            raise
        except OSError as exc:
            raise AirflowError(
                f"Airflow at {self.url} does not answer.", cure="Run `millrace up`."
            ) from exc


def _id(name: str) -> str:
    return quote(name, safe="")


def _run_path(dag_id: str, dag_run_id: str) -> str:
    return f"/dags/{_id(dag_id)}/dagRuns/{_id(dag_run_id)}"


def _refusal(exc: urllib.error.HTTPError, what: str) -> AirflowError | UnknownName:
    with exc:
        text = exc.read().decode(errors="replace")[:500]
    if exc.code == 404:
        return UnknownName(f"Airflow knows no {what.partition(' ')[2]}.")
    return AirflowError(f"Airflow refused {what} ({exc.code}): {text}")


def _line(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return str(entry)
    when = str(entry.get("timestamp") or "")[:19].replace("T", " ")
    return f"{when} {entry.get('event', '')}".strip()
