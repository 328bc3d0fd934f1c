"""Settings: the environment read once into one frozen value, validated together.

`$MILLRACE_HOME/settings.env` (mode 600, written by `millrace up`) supplies what the environment
does not, so that every command finds the running stack. Nothing else reads os.environ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from millrace.errors import SettingsError

PREFIX = "MILLRACE_"
NOTIFY_PREFIX = "MILLRACE_NOTIFY_"
SETTINGS_FILE = "settings.env"
RUN_TOKEN = "MILLRACE_RUN_TOKEN"
"""The secret of one attempt, in its kernel's environment alone."""


def _setting(help_text: str, default: Any = None, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"help": help_text, "secret": secret})


@dataclass(frozen=True)
class Settings:
    """Every setting; the environment variable is MILLRACE_ and the field's name in capitals."""

    project_dir: Path = _setting("the checkout: dags, notebooks, sql", Path(__file__).parents[2])
    home: Path = _setting("where the embedded stack keeps its data (default: .millrace)", Path())
    notebooks_dir: Path = _setting("root of all notebooks (default: notebooks)", Path())

    database_url: str = _setting("control database, owner role", "", secret=True)
    kernel_database_url: str = _setting("the same, role of notebook kernels", "", secret=True)
    author_database_url: str = _setting("the same, role of JupyterLab kernels", "", secret=True)
    airflow_database_url: str = _setting("Airflow's metadata database", "", secret=True)
    lake_url: str = _setting("file:///... or s3://bucket/prefix (default: lake in the home)", "")
    vectors_url: str = _setting("postgresql://... or http(s)://weaviate", "", secret=True)

    gateway_url: str = _setting("where notebooks and clients find the gateway", "")
    gateway_key: str = _setting("API key of the embedded gateway", "", secret=True)
    airflow_url: str = _setting("Airflow's API server", "")
    airflow_user: str = _setting("Airflow user of the millrace command", "admin")
    airflow_password: str = _setting("its password", "", secret=True)
    jupyter_token: str = _setting("JupyterLab's token", "", secret=True)

    postgres_port: int = _setting("embedded Postgres", 54320)
    gateway_port: int = _setting("embedded gateway", 11480)
    airflow_port: int = _setting("embedded Airflow API server", 8080)
    jupyter_port: int = _setting("embedded JupyterLab", 8888)
    parallelism: int = _setting("Airflow tasks at the same time", 8)

    ollama_host: str = _setting(
        "an Ollama server (also OLLAMA_HOST; empty: the usual port, if one answers; off: none)", ""
    )
    gguf: str = _setting("path of a GGUF model for llama.cpp in-process", "")
    model: str = _setting("default generation model; empty: the first a backend has", "")
    embed_model: str = _setting("default embedding model; empty: the first a backend has", "")
    log_level: str = _setting("DEBUG, INFO, WARNING or ERROR", "INFO")

    notify: Mapping[str, str] = field(default_factory=dict, repr=False, metadata={"secret": True})
    """Notification targets, from MILLRACE_NOTIFY_<NAME>: name (lower case) -> Apprise URL."""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment over the home's settings file.

        Raises SettingsError naming every key that does not fit, not only the first.
        """
        given = dict(os.environ if environ is None else environ)
        project_dir = Path(given.get("MILLRACE_PROJECT_DIR") or cls.project_dir).resolve()
        home = Path(given.get("MILLRACE_HOME") or project_dir / ".millrace").resolve()
        # A notebook's kernel gets what it may have in its environment, and nothing more.
        is_kernel = RUN_TOKEN in given
        values = {**({} if is_kernel else read_settings_file(home / SETTINGS_FILE)), **given}
        values.setdefault("MILLRACE_OLLAMA_HOST", given.get("OLLAMA_HOST", ""))
        values |= {"MILLRACE_PROJECT_DIR": str(project_dir), "MILLRACE_HOME": str(home)}
        return cls(**_validated(values, project_dir, home))

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a child process."""
        named = {
            f"{PREFIX}{f.name.upper()}": str(getattr(self, f.name))
            for f in fields(self)
            if f.name != "notify"
        }
        return named | {f"{NOTIFY_PREFIX}{k.upper()}": v for k, v in self.notify.items()}

    def secrets(self) -> tuple[str, ...]:
        """Every value that must not reach a log, a notebook or the lake."""
        plain = [getattr(self, f.name) for f in fields(self) if f.metadata.get("secret")]
        return tuple(v for v in [*plain, *self.notify.values()] if isinstance(v, str) and v)


def read_settings_file(path: Path) -> dict[str, str]:
    """The KEY=value lines of a settings file; {} where there is none."""
    if not path.is_file():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _validated(values: Mapping[str, str], project_dir: Path, home: Path) -> dict[str, Any]:
    known = {f"{PREFIX}{f.name.upper()}": f for f in fields(Settings) if f.name != "notify"}
    faults = [f"{key}: no such setting" for key in values if _is_unknown(key, known)]
    result: dict[str, Any] = {}
    for key, f in known.items():
        text = values.get(key, "")
        if text == "":
            continue
        try:
            result[f.name] = int(text) if f.type == "int" else text
        except ValueError:
            faults.append(f"{key}: {text!r} is not a whole number")
    if result.get("log_level", "INFO") not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        faults.append("MILLRACE_LOG_LEVEL: must be DEBUG, INFO, WARNING or ERROR")
    faults += [
        f"{PREFIX}{name.upper()}: {value} is not a port (1-65535)"
        for name, value in result.items()
        if name.endswith("_port") and not 1 <= value <= 65535
    ]
    if faults:
        raise SettingsError("Settings do not fit: " + "; ".join(sorted(faults)))
    return result | _derived(result, values, project_dir, home)


def _is_unknown(key: str, known: Mapping[str, Any]) -> bool:
    return (
        key.startswith(PREFIX)
        and key not in known
        and key != RUN_TOKEN
        and not key.startswith(NOTIFY_PREFIX)
    )


def _derived(
    result: Mapping[str, Any], values: Mapping[str, str], project_dir: Path, home: Path
) -> dict[str, Any]:
    port = {
        name: result.get(name, getattr(Settings, name)) for name in ("gateway_port", "airflow_port")
    }
    return {
        "project_dir": project_dir,
        "home": home,
        "notebooks_dir": Path(result.get("notebooks_dir") or project_dir / "notebooks").resolve(),
        "lake_url": result.get("lake_url") or (home / "lake").as_uri(),
        "vectors_url": result.get("vectors_url") or result.get("database_url", ""),
        "gateway_url": result.get("gateway_url") or f"http://127.0.0.1:{port['gateway_port']}",
        "airflow_url": result.get("airflow_url") or f"http://127.0.0.1:{port['airflow_port']}",
        "notify": {
            key.removeprefix(NOTIFY_PREFIX).lower(): value
            for key, value in values.items()
            if key.startswith(NOTIFY_PREFIX)
        },
    }
