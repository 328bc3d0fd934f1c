"""Any machine can lay out any control version: from control.snapshot, with nothing else at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import Group, House

LAY_OUT = """
import json, sys
from millrace.airflow.bundle import ControlBundle
bundle = ControlBundle(name="control", version=sys.argv[1])
bundle.initialize()
print(json.dumps(sorted(path.name for path in bundle.path.glob("stream_*"))))
"""


@pytest.fixture(scope="module")
def versions(house: House) -> tuple[str, str]:
    """A control version with the stream `elder`, and a later one without it."""
    quick = house.notebook("bundle/quick.ipynb", "print('hello')")
    house.stream("elder", {"elder.g": Group({"elder.p": 0})}, notebook=quick)
    house.until(lambda: house.is_triggerable("stream__elder"), "the stream is a DAG")
    before = newest(house)
    house.sql("UPDATE control.stream SET is_active = false WHERE stream_name = 'elder'")
    house.until(lambda: newest(house) != before, "a newer snapshot")
    return before, newest(house)


def newest(house: House) -> str:
    [row] = house.sql("SELECT control_version FROM control.snapshot ORDER BY taken_at DESC LIMIT 1")
    return str(row["control_version"])


def lay_out(house: House, storage: Path, version: str) -> list[str]:
    """The stream files another machine, with an empty disk, has for a version."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "AIRFLOW_HOME": str(storage / "airflow"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(storage / "bundles"),
        "MILLRACE_HOME": str(storage / "home"),
        "MILLRACE_DATABASE_URL": house.settings.database_url,
    }
    done = subprocess.run(
        [sys.executable, "-c", LAY_OUT, version],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_every_version_is_laid_out_from_its_snapshot(
    house: House, versions: tuple[str, str], tmp_path: Path
) -> None:
    old, new = versions
    assert any(name.startswith("stream_elder_") for name in lay_out(house, tmp_path / "a", old))
    assert not any(name.startswith("stream_elder_") for name in lay_out(house, tmp_path / "b", new))
