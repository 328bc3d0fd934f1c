"""A browser for the tests here: the system's Chromium, never one of playwright's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.house import House

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 60_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; its absence is a skip on a laptop and a failure where CI=true."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("CI promises a Chromium, and there is none: see .ci/run.")
    if path is None:
        pytest.skip("There is no Chromium: install it from your distribution.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page of a visitor whom nobody knows."""
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def session(browser: Browser, house: House, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the cookies of somebody who has signed in."""
    path = str(tmp_path_factory.mktemp("session") / "state.json")
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        sign_in(page, house, house.settings.airflow_password)
        page.wait_for_url(f"{house.settings.airflow_url}/")
        context.storage_state(path=path)
    return path


@pytest.fixture
def airflow(browser: Browser, session: str) -> Iterator[Page]:
    """A page of somebody who has signed in to Airflow."""
    context = browser.new_context(
        viewport={"width": 1500, "height": 1000}, storage_state=session, color_scheme="light"
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def sign_in(page: Page, house: House, password: str) -> None:
    """Fill in Airflow's sign-in form and send it."""
    page.goto(house.settings.airflow_url)
    page.locator("input[name=username]").fill(house.settings.airflow_user)
    page.locator("input[name=password]").fill(password)
    page.get_by_role("button", name="Sign in").click()
