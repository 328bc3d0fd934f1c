"""The Airflow plugin: executed notebooks as pages and task links, and a person's marks."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from millrace.airflow import listener
from millrace.airflow.operators import NotebookLink
from millrace.airflow.pages import app


class MillraceUi(AirflowPlugin):
    """What Airflow loads from plugins/."""

    name = "millrace"
    fastapi_apps: ClassVar[list[Any]] = [
        {"app": app, "url_prefix": "/millrace", "name": "Millrace"}
    ]
    operator_extra_links: ClassVar[list[Any]] = [NotebookLink()]
    listeners: ClassVar[list[Any]] = [listener]
