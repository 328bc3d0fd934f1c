"""The Airflow plugin: executed notebooks as pages and task links, and a person's marks."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from millrace.airflow import listener
from millrace.airflow.operators import NotebookLink


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """The pages as an ASGI application, loaded at the first request.

    Every component loads this plugin, and only the API server has use for a web framework:
    30 MB in each of the others.
    """
    from millrace.airflow.pages import app

    await app(scope, receive, send)


class MillraceUi(AirflowPlugin):
    """What Airflow loads from plugins/."""

    name = "millrace"
    fastapi_apps = [{"app": pages, "url_prefix": "/millrace", "name": "Millrace"}]  # noqa: RUF012
    operator_extra_links = [NotebookLink()]  # noqa: RUF012
    listeners = [listener]  # noqa: RUF012
