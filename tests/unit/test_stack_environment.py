"""What the parts of the stack are told: loopback only, nothing reports home, no reason missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.settings import Settings
from millrace.stack import airflow, airflow_secrets, airflow_settings, environment, jupyter
from millrace.stack.credentials import ensure


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return ensure(Settings.load({"MILLRACE_HOME": str(tmp_path / "a home")}))


@pytest.fixture
def airflow_variables(settings: Settings) -> dict[str, str]:
    keys = airflow_secrets.ensure(settings.home / "airflow" / "secrets.json")
    return airflow_settings.variables(settings, keys)


def test_the_callers_own_airflow_python_and_database_do_not_leak_in(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AIRFLOW__CORE__EXECUTOR", "PYTHONDONTWRITEBYTECODE", "PGHOST", "MILLRACE_X"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("KEPT", "yes")
    given = environment.base(settings)
    assert given["KEPT"] == "yes"
    assert not {"AIRFLOW__CORE__EXECUTOR", "PYTHONDONTWRITEBYTECODE", "PGHOST", "MILLRACE_X"} & {
        *given
    }
    assert given["MILLRACE_DATABASE_URL"] == settings.database_url


def test_every_fixed_airflow_setting_has_a_reason() -> None:
    assert [name for name, (_, reason) in airflow_settings.FIXED.items() if len(reason) < 8] == []


def test_airflow_listens_on_loopback_and_is_closed(airflow_variables: dict[str, str]) -> None:
    assert airflow_variables["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert airflow_variables["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"
    assert airflow_variables["AIRFLOW__API__EXPOSE_CONFIG"] == "False"
    assert not [v for v in airflow_variables.values() if "0.0.0.0" in v]


def test_airflow_keys_are_the_same_at_every_start(settings: Settings) -> None:
    path = settings.home / "airflow" / "secrets.json"
    assert airflow_secrets.ensure(path) == airflow_secrets.ensure(path)
    assert path.stat().st_mode & 0o077 == 0
    assert airflow_secrets.ensure(path).jwt_secret not in repr(airflow_secrets.ensure(path))


def test_no_secret_is_on_a_command_line(settings: Settings) -> None:
    parts = [*airflow.parts(settings), jupyter.part(settings)]
    words = " ".join(word for part in parts for word in part.command)
    assert [secret for secret in settings.secrets() if secret in words] == []
    assert [secret for secret in settings.secrets() if secret in repr(parts)] == []


def test_jupyterlab_gets_the_authors_role_and_not_the_owners(settings: Settings) -> None:
    given = jupyter.part(settings).environment()
    assert given["MILLRACE_KERNEL_DATABASE_URL"] == settings.author_database_url
    assert given["MILLRACE_VECTORS_URL"] == settings.author_database_url
    withheld = (settings.database_url, settings.airflow_database_url, settings.airflow_password)
    assert [value for value in given.values() if value in withheld] == []
