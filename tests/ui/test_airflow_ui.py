"""What a data engineer sees and does in Airflow's own pages, in a real browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.house import Group, House
from tests.ui.conftest import PATIENCE_MS, sign_in

expect.set_options(timeout=PATIENCE_MS)

STREAM, DAY = "ui_shop", "2026-11-05"
TASKS = ("ui_read", "ui_clean", "ui_recommend")
GREETING = "print(f'The mill turns for {customer}: {6 * 7} sacks.')"
BROKEN = "flour = 12\n# %%\nsacks = flour / 0  # the stones stand still"


@pytest.fixture(scope="module")
def shop(house: House) -> str:
    """A stream of two groups that is a DAG already."""
    house.notebook("ui/greet.ipynb", GREETING, 'customer: str = "nobody"')
    groups = {
        "ui_prepare": Group({"ui_read": 0, "ui_clean": 0}),
        "ui_answer": Group({"ui_recommend": {"parameters": {"customer": "Ada"}}}, priority=1),
    }
    house.stream(STREAM, groups, notebook="ui/greet.ipynb", description="Seen in a browser.")
    for dag_id in (f"stream__{STREAM}", *(f"process__{name}" for name in TASKS)):
        house.until(lambda d=dag_id: house.is_triggerable(d), f"{dag_id} is a DAG")  # type: ignore[misc]
    return STREAM


def graph(page: Page) -> Locator:
    """The graph of the DAG whose page is open, with its groups open."""
    page.get_by_label("Show Graph").first.click()
    page.get_by_label("Expand all task groups").click()
    return page.locator(".react-flow__node")


def test_the_password_is_needed_and_the_generated_one_fits(house: House, page: Page) -> None:
    page.goto(f"{house.settings.airflow_url}/dags")
    page.wait_for_url("**/auth/login*")
    sign_in(page, house, "not the password")
    expect(page.get_by_text("Invalid credentials")).to_be_visible()
    page.locator("input[name=password]").fill(house.settings.airflow_password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{house.settings.airflow_url}/")
    expect(page.get_by_role("link", name="Dags").first).to_be_visible()


def test_both_kinds_of_dags_are_in_the_list(house: House, shop: str, airflow: Page) -> None:
    airflow.goto(f"{house.settings.airflow_url}/dags?tags={shop}")
    for dag_id in (f"stream__{shop}", *(f"process__{name}" for name in TASKS)):
        expect(airflow.get_by_role("link", name=dag_id, exact=True)).to_be_visible()


def test_the_graph_names_groups_and_processes(house: House, shop: str, airflow: Page) -> None:
    airflow.goto(f"{house.settings.airflow_url}/dags/stream__{shop}")
    nodes = graph(airflow)
    for name in ("ui_prepare", "ui_answer", *TASKS, "result"):
        expect(nodes.get_by_text(name, exact=True)).to_be_visible()
    group = nodes.filter(has_text="Task Group")
    expect(group).to_have_count(2)


def test_a_stream_is_triggered_by_the_form_and_its_notebook_read(
    house: House, shop: str, airflow: Page
) -> None:
    assert house.run(shop, data_date=DAY) == "success"
    airflow.goto(f"{house.settings.airflow_url}/dags/stream__{shop}")
    airflow.get_by_test_id("trigger-dag-button").click()
    form = airflow.get_by_role("dialog")
    form.locator("input[name=element_data_date]").fill(DAY)
    form.locator("input[name=element_rerun]").dispatch_event("click")
    form.get_by_role("button", name="Trigger", exact=True).click()
    form.wait_for(state="detached")

    house.until(lambda: second_generation(house, shop), "the form opened generation 2")
    run_id = latest_run(house, shop)
    airflow.goto(house.airflow.run_url(f"stream__{shop}", run_id))
    expect(
        graph(airflow).filter(has_text=re.compile("ui_recommend.*success", re.S))
    ).to_be_visible()
    assert house.wait(f"stream__{shop}", run_id) == "success"

    notebook = executed_notebook(airflow, house, f"ui_recommend__{DAY}__g2")
    expect(notebook.get_by_text("The mill turns for Ada: 42 sacks.")).to_be_visible()
    expect(notebook.get_by_text("generation 2, attempt 1")).to_be_visible()


def test_a_failed_run_shows_the_cell_that_failed(house: House, airflow: Page) -> None:
    house.notebook("ui/broken.ipynb", BROKEN)
    house.stream(
        "ui_jam", {"ui_jammed": Group({"ui_grind": {"retries": 0}})}, notebook="ui/broken.ipynb"
    )
    assert house.run("ui_jam", data_date=DAY) == "failed"

    notebook = executed_notebook(airflow, house, f"ui_grind__{DAY}__g1")
    expect(notebook.locator("header .failed")).to_contain_text("cell 3: ZeroDivisionError")
    expect(notebook.get_by_text("the stones stand still").first).to_be_visible()
    expect(notebook.locator(".output_error")).to_contain_text("ZeroDivisionError: division by zero")


def second_generation(house: House, stream: str) -> list[dict[str, Any]]:
    """The row of the stream's second generation of that day, if there is one."""
    return house.sql(
        "SELECT * FROM control.stream_run"
        " WHERE stream_name = %s AND data_date = %s AND generation = 2",
        *(stream, DAY),
    )


def latest_run(house: House, stream: str) -> str:
    """The id of the stream's newest DAG run."""
    runs = house.airflow.get(f"/dags/stream__{stream}/dagRuns?order_by=-run_after&limit=1")
    return str(runs["dag_runs"][0]["dag_run_id"])


def executed_notebook(page: Page, house: House, run_id: str) -> Page:
    """From the list of a process's runs to its executed notebook, by what there is to click."""
    dag_id = f"process__{run_id.partition('__')[0]}"
    page.goto(f"{house.settings.airflow_url}/dags/{dag_id}/runs")
    page.get_by_role("link", name=run_id).first.click()
    page.locator(f"a[href*='/runs/{run_id}/tasks/notebook']").first.click()
    page.locator("a[href*='/tasks/notebook/details']").click()
    page.get_by_role("link", name="Executed notebook").click()
    page.wait_for_url(f"**/millrace/runs/{run_id}/notebook")
    return page
