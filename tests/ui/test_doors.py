"""No open door: everything listens on this machine only, and nothing answers without credentials."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import jupyter_server
import psycopg2
import pytest
import yaml

from millrace.gateway.doors import ollama
from millrace.stack import airflow_secrets, airflow_settings, embedded, environment, processes
from millrace.stack.credentials import ROLES
from millrace.stack.postgres import SUPERUSER
from tests.house import House

Door = tuple[str, str]
"""Method and path."""

LOOPBACK = ("127.0.0.1", "::1")
REFUSALS = (401, 403)
WRONG = "not-the-secret-0123456789"
NOBODY = "00000000-0000-4000-8000-000000000000"

LIST_ROUTES = """
import json
from airflow.api_fastapi.app import create_app
from airflow.api_fastapi.execution_api.routes import execution_api_router as tasks
from millrace.airflow.pages import app as pages

def walk(routes, prefix=""):
    for route in routes:
        path = prefix + getattr(route, "path", "")
        yield from walk(getattr(route, "routes", None) or (), path)
        yield from ((method, path) for method in getattr(route, "methods", None) or ())

# The tasks' own API makes its routes when it starts; the plugin's pages load at the first request.
found = {*walk(create_app().routes), *walk(tasks.routes, "/execution"), *walk(pages.routes, "/millrace")}
print("ROUTES", json.dumps(sorted(found)))
"""

AIRFLOW_OPEN = {
    # What takes a password, and the empty pages that load the sign-in form.
    *("/auth/token", "/auth/token/cli", "/auth/{rest_of_path:path}", "/{rest_of_path:path}"),
    # Is it alive, and which version: no word about streams.
    *("/api/v2/version", "/api/v2/monitor/health", "/execution/health", "/execution/health/ping"),
    # Descriptions of the API itself.
    *("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"),
    *("/auth/openapi.json", "/auth/docs", "/auth/docs/oauth2-redirect", "/auth/redoc"),
    *("/execution/openapi.json", "/execution/docs", "/execution/docs/oauth2-redirect"),
    *("/execution/redoc", "/execution/changelog"),
    # What there was in Airflow 2: gone (404).
    *("/api/v1/{_:path}", "/api/{_:path}", "/health"),
}
"""Everything that answers without credentials, and nothing more."""


def test_everything_listens_on_this_machine_only(house: House) -> None:
    records = [part.record for part in embedded.parts(house.settings)]
    family = processes.merge(*(processes.family(record) for record in records if record))
    sockets = [
        c for p in family for c in p.net_connections("inet") if c.status in ("LISTEN", "NONE")
    ]
    settings = house.settings
    ports = (
        settings.postgres_port,
        settings.gateway_port,
        settings.airflow_port,
        settings.jupyter_port,
    )
    assert set(ports) <= {socket.laddr.port for socket in sockets}
    assert [s.laddr for s in sockets if s.laddr.ip not in LOOPBACK] == []


@pytest.fixture(scope="module")
def airflow_doors(house: House) -> list[Door]:
    """Every route of Airflow's API server, the plugin's pages included."""
    keys = airflow_secrets.ensure(airflow_settings.home(house.settings) / "secrets.json")
    given = environment.base(house.settings) | airflow_settings.variables(house.settings, keys)
    done = subprocess.run(
        [sys.executable, "-c", LIST_ROUTES], env=given, capture_output=True, text=True, check=False
    )
    told = re.search(r"^ROUTES (.*)$", done.stdout, re.MULTILINE)
    assert told, done.stderr
    return [(method, path) for method, path in json.loads(told[1]) if method != "OPTIONS"]


@pytest.mark.parametrize("given", ["nothing", "a wrong token", "a wrong cookie"])
def test_airflow_refuses_every_other_route(
    house: House, airflow_doors: list[Door], given: str
) -> None:
    for part in ("/api/v2/dags", "/ui/", "/execution/task-instances/", "/millrace/runs/"):
        assert any(path.startswith(part) for _, path in airflow_doors), part
    headers = {"Authorization": f"Bearer {WRONG}"} if given == "a wrong token" else {}
    cookies = {"_token": WRONG} if given == "a wrong cookie" else {}
    opened = _opened(house.settings.airflow_url, airflow_doors, headers, cookies)
    print(f"{given}: {len(airflow_doors)} routes, {len(opened)} answered")
    assert {path for _, path, _ in opened} == AIRFLOW_OPEN
    assert len(airflow_doors) - len(opened) > 150


def test_airflows_open_routes_tell_nothing_of_the_streams(
    house: House, airflow_doors: list[Door]
) -> None:
    house.notebook("ui/quiet.ipynb")
    stream = "unmistakable_stream_name"
    house.sql(
        "INSERT INTO control.stream (stream_name, owner) VALUES (%s, 'somebody') ON CONFLICT DO NOTHING",
        stream,
    )
    with httpx.Client(base_url=house.settings.airflow_url, follow_redirects=True) as client:
        for method, path in airflow_doors:
            if path in AIRFLOW_OPEN and method == "GET":
                assert stream not in client.get(_filled(path)).text, path


def test_a_wrong_password_signs_nobody_in(house: House) -> None:
    for user, password in (
        ("admin", WRONG),
        ("admin", ""),
        ("admin", "admin"),
        ("", ""),
        ("root", WRONG),
    ):
        reply = httpx.post(
            f"{house.settings.airflow_url}/auth/token",
            json={"username": user, "password": password},
        )
        assert reply.status_code in (400, 401, 403, 422), (user, reply.text)
    for path in ("/auth/token", "/auth/token/login"):
        reply = httpx.get(f"{house.settings.airflow_url}{path}")
        assert reply.status_code in REFUSALS
        assert "_token" not in reply.cookies


@pytest.mark.parametrize("given", ["", f"token {WRONG}", f"Bearer {WRONG}"])
def test_jupyterlab_refuses_every_route(house: House, given: str) -> None:
    doors = list(_jupyter_doors())
    assert len(doors) > 30
    headers = {"Authorization": given} if given else {}
    assert _opened(f"http://127.0.0.1:{house.settings.jupyter_port}", doors, headers) == []


def test_jupyterlab_opens_by_its_token_alone(house: House) -> None:
    url = f"http://127.0.0.1:{house.settings.jupyter_port}/api/contents"
    assert httpx.get(url, params={"token": house.settings.jupyter_token}).status_code == 200
    assert httpx.get(url, params={"token": WRONG}).status_code in REFUSALS


@pytest.mark.parametrize("given", ["", f"Bearer {WRONG}", "Bearer", "Basic YWRtaW46YWRtaW4="])
def test_the_gateway_refuses_every_route(house: House, given: str) -> None:
    doors = [*ollama.ROUTES, ("GET", "/"), ("POST", "/api/pull"), ("GET", "/nowhere")]
    assert len(doors) > 6
    headers = {"Authorization": given} if given else {}
    assert _opened(house.settings.gateway_url, doors, headers) == []
    right = {"Authorization": f"Bearer {house.settings.gateway_key}"}
    assert _opened(house.settings.gateway_url, [("GET", "/api/tags")], right) != []


@pytest.mark.parametrize("password", ["", WRONG, "postgres"])
def test_postgres_refuses_every_role(house: House, password: str) -> None:
    for role, database in {*ROLES.values(), (SUPERUSER, "postgres")}:
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(
                host="127.0.0.1",
                port=house.settings.postgres_port,
                user=role,
                dbname=database,
                password=password,
            )


def _opened(
    url: str, doors: Iterable[Door], headers: dict[str, str], cookies: dict[str, str] | None = None
) -> list[tuple[str, str, int]]:
    """The doors that did not refuse, with what they answered."""
    found = []
    with httpx.Client(base_url=url, headers=headers, cookies=cookies, timeout=60) as client:
        for method, path in doors:
            body: dict[str, str] | None = {} if method in ("POST", "PUT", "PATCH") else None
            reply = client.request(method, _filled(path), json=body)
            if not _is_refusal(reply):
                found.append((method, path, reply.status_code))
    return found


def _is_refusal(reply: httpx.Response) -> bool:
    is_sent_away = reply.is_redirect and "login" in reply.headers["location"]
    return reply.status_code in REFUSALS or is_sent_away


def _filled(path: str) -> str:
    """The path with something in the place of each parameter."""
    return re.sub(r"\{[^}]*\}", "1", path)


def _jupyter_doors() -> Iterator[Door]:
    """What Jupyter's own description lists (but for its version number), and JupyterLab's pages."""
    described = Path(jupyter_server.__file__).parent / "services" / "api" / "api.yaml"
    for path, methods in yaml.safe_load(described.read_text())["paths"].items():
        named = re.sub(r"\{(kernel_id|session)\}", NOBODY, path)
        yield from ((m.upper(), named) for m in methods if m != "parameters" and path != "/api/")
    for path in ("/lab", "/lab/tree/demo", "/files/demo/report.ipynb", "/lab/api/settings"):
        yield "GET", path
    yield "GET", f"/api/kernels/{NOBODY}/channels"
