"""The home's settings file: ports, URLs and secrets, generated once and kept."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from millrace.settings import SETTINGS_FILE, Settings

ROLES = {
    "database_url": ("millrace", "millrace"),
    "kernel_database_url": ("millrace_kernel", "millrace"),
    "author_database_url": ("millrace_author", "millrace"),
    "airflow_database_url": ("airflow", "airflow"),
}
"""Setting -> (role, database) of the embedded Postgres."""

TOKENS = ("gateway_key", "airflow_password", "jupyter_token")
KEPT = ("ollama_host", "gguf", "model", "embed_model", "parallelism", "log_level")
"""Settings that stay as they were given to the last `up`."""

PORTS = ("postgres_port", "gateway_port", "airflow_port", "jupyter_port")
_HEADER = "# Written by `millrace up`; secrets are generated once. Your own lines stay.\n"


def ensure(settings: Settings) -> Settings:
    """Settings with every secret and URL of the embedded stack, written to the home (mode 600).

    What is set already is kept, but for the port in a URL of the embedded Postgres.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    # Root's Postgres runs as another user, who must pass through here; nobody may list it.
    settings.home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    values: dict[str, Any] = {name: _url(settings, name) for name in ROLES}
    values |= {name: getattr(settings, name) or secrets.token_urlsafe(24) for name in TOKENS}
    values |= {name: getattr(settings, name) for name in PORTS}
    _keep(settings.home / SETTINGS_FILE, values | _chosen(settings))
    if settings.vectors_url in ("", settings.database_url):
        values["vectors_url"] = values["database_url"]
    return replace(settings, **values)


def password_of(url: str) -> str:
    """The password in a database URL."""
    return urlsplit(url).password or ""


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody but its owner can read, at no moment."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(path)


def _chosen(settings: Settings) -> dict[str, Any]:
    given = {name: getattr(settings, name) for name in KEPT}
    return {name: value for name, value in given.items() if value != getattr(Settings, name)}


def _url(settings: Settings, name: str) -> str:
    role, database = ROLES[name]
    password = password_of(getattr(settings, name)) or secrets.token_urlsafe(24)
    return f"postgresql://{role}:{password}@127.0.0.1:{settings.postgres_port}/{database}"


def _keep(path: Path, values: Mapping[str, Any]) -> None:
    named = {f"MILLRACE_{name.upper()}": value for name, value in values.items()}
    text = path.read_text() if path.is_file() else _HEADER
    kept = [line for line in text.splitlines() if line.partition("=")[0].strip() not in named]
    ours = [f"{key}={value}" for key, value in named.items()]
    new = "\n".join([*kept, *ours]) + "\n"
    if not path.is_file() or new != path.read_text():
        write_private(path, new)
