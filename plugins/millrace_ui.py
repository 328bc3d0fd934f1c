"""The Airflow plugin: executed notebooks as pages and task links, and a person's marks."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from millrace.airflow import listener
from millrace.airflow.operators import NotebookLink
from millrace.airflow.pages import app


class MillraceUi(AirflowPlugin):
    """What Airflow loads from plugins/."""

    name = "millrace"
    fastapi_apps = [{"app": app, "url_prefix": "/millrace", "name": "Millrace"}]  # noqa: RUF012
    operator_extra_links = [NotebookLink()]  # noqa: RUF012
    listeners = [listener]  # noqa: RUF012
