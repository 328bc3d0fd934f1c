"""Airflow imports every module under plugins/ by its bare stem: plugins/.airflowignore keeps ours out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from airflow._shared.module_loading import find_path_from_directory

# Airflow 3.3 uses a name that pathspec is about to drop; ours to wait, not to mend.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

PLUGINS = Path(__file__).parents[2] / "plugins"


def seen_by_airflow(folder: Path) -> set[str]:
    """The modules that Airflow's plugin manager would import, relative to the folder."""
    paths = map(Path, find_path_from_directory(str(folder), ".airflowignore"))
    return {path.relative_to(folder).as_posix() for path in paths if path.suffix == ".py"}


def test_airflow_imports_the_plugin_and_none_of_the_packages_modules() -> None:
    assert seen_by_airflow(PLUGINS) == {"millrace_ui.py"}


def test_without_the_file_a_requests_of_ours_would_replace_the_library_of_that_name(
    tmp_path: Path,
) -> None:
    shutil.copytree(PLUGINS / "millrace" / "airflow", tmp_path / "millrace" / "airflow")
    assert "millrace/airflow/requests.py" in seen_by_airflow(tmp_path)
