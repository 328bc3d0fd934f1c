"""The tutorial does what it says, block by block, on a real stack, as its reader would do it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from datetime import date

import pytest

from tests.docs.blocks import ROOT, Block, blocks
from tests.house import House

TUTORIAL = ROOT / "docs" / "tutorial.md"


@pytest.fixture(scope="module")
def environment(house: House) -> dict[str, str]:
    """What the reader's shell has: where the stack is, and the commands of the checkout."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")}
    given = {
        "MILLRACE_HOME": str(house.settings.home),
        "MILLRACE_NOTEBOOKS_DIR": str(house.settings.notebooks_dir),
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    return inherited | given


def in_a_shell(text: str, environment: Mapping[str, str]) -> str:
    """Run a block with bash in the checkout; what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_block_of_the_tutorial_does_what_the_page_says(
    house: House, environment: dict[str, str]
) -> None:
    said: dict[str, str] = {}
    reached = []
    for block in blocks(TUTORIAL):
        done = _do(block, house, environment)
        said[block.section] = said.get(block.section, "") + done
        if block.section in AFTERWARDS:
            AFTERWARDS[block.section](house, said[block.section])
        reached.append(block.section)
    assert {*AFTERWARDS} <= {*reached}
    assert len(reached) >= 12


def _do(block: Block, house: House, environment: Mapping[str, str]) -> str:
    if block.language == "sql":
        house.sql(block.text)
    elif block.language == "shell":
        return in_a_shell(block.text, environment)
    else:
        # The cells of a notebook that is there already: tests/notebooks compares them.
        assert block.language == "python"
    return ""


def _there(house: House, said: str) -> None:
    for dag_id in ("stream__hello", "process__say_hello"):
        house.until(lambda d=dag_id: house.is_triggerable(d), f"{dag_id} is a DAG", 10)  # type: ignore[misc]
    if said:
        assert "All is well." in said
        assert "My first stream." in said


def _ran(house: House, said: str) -> None:
    assert "say_hello: success" in said
    assert "executed notebook: file://" in said
    rows = house.log("say_hello")
    assert [row["generation"] for row in rows] == [1, 2][: said.count("say_hello: running")]
    assert {(row["source_rows"], row["target_rows"]) for row in rows} == {(1, 1)}
    assert "Ada" in _greeting(house, rows[-1]["data_date"])


def _greeting(house: House, day: date) -> str:
    return (house.settings.home / "lake" / "data" / "hello" / f"{day}.txt").read_text()


def _changed(house: House, said: str) -> None:
    page = "/dags/process__say_hello/details"
    house.until(lambda: "Grace" in str(house.airflow.get(page)["doc_md"]), "the update is seen", 10)
    assert house.run("hello", rerun=True) == "success"
    [*_, last] = house.log("say_hello")
    assert "Grace" in _greeting(house, last["data_date"])


def _scheduled(house: House, said: str) -> None:
    def cron() -> bool:
        return str(house.airflow.get("/dags/stream__hello")["timetable_summary"]).startswith("15 7")

    house.until(cron, "Airflow has the schedule")


def _gone(house: House, said: str) -> None:
    house.until(lambda: not house.is_triggerable("stream__hello"), "the stream is gone")
    assert len(house.log("say_hello")) >= 3


AFTERWARDS: Mapping[str, Callable[[House, str], None]] = {
    "2. Three INSERTs": _there,
    "3. Run it": _ran,
    "4. Change it": _changed,
    "5. Give it a schedule": _scheduled,
    "6. Take it away": _gone,
}
"""What must be true after each block of a section."""
