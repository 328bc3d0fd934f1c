"""Takes the README's two pictures from a running demo: `make demo`, then run this file.

`.venv/bin/python docs/images/take.py` needs Chromium (the system's own) and overwrites
stream_graph.png and report.png beside it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from millrace.airflow.client import AirflowClient
from millrace.lake import open_lake
from millrace.settings import Settings

STREAM = "stream__merchandise_recommendation"
HERE = Path(__file__).parent
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def main() -> None:
    """Take both; SystemExit where there is no Chromium or no run of the demo."""
    settings = Settings.load()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=list(OPTIONS))
        _keep("stream_graph.png", _stream_graph(browser, settings))
        _keep("report.png", _report(browser, settings))
        browser.close()


def _stream_graph(browser: Browser, settings: Settings) -> bytes:
    """The last run of the demo stream as Airflow draws it: groups open, nothing beside it."""
    page = _page(browser, width=1400, height=560)
    page.goto(f"{settings.airflow_url}/auth/login?next=/")
    page.locator("input[name=username]").fill(settings.airflow_user)
    page.locator("input[name=password]").fill(settings.airflow_password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{settings.airflow_url}/")
    client = AirflowClient.of(settings)
    page.goto(client.run_url(STREAM, _last_run(client)))
    page.get_by_label("Show Graph").first.click()
    page.get_by_label("Expand all task groups").click()
    page.get_by_label("Collapse Details Panel").click()
    page.locator(".react-flow__node", has_text="RunProcess").first.wait_for()
    page.add_style_tag(content=".react-flow__minimap, .react-flow__attribution {display: none}")
    page.get_by_label("Fit View").click()
    page.mouse.move(700, 540)
    page.wait_for_timeout(1500)  # the graph glides into place
    return page.screenshot()


def _report(browser: Browser, settings: Settings) -> bytes:
    """The top of the newest report in the lake."""
    lake = open_lake(settings.lake_url)
    keys = (entry.key for entry in lake.list("data/reports/"))
    newest = max(key for key in keys if key.endswith(".html"))
    page = _page(browser, width=1240, height=860)
    page.set_content(lake.read_bytes(newest).decode())
    return page.screenshot()


def _page(browser: Browser, *, width: int, height: int) -> Page:
    size = {"width": width, "height": height}
    return browser.new_context(viewport=size, color_scheme="light").new_page()  # type: ignore[arg-type]


def _last_run(client: AirflowClient) -> str:
    runs = client.get(f"/dags/{STREAM}/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
    if not runs:
        raise SystemExit("The demo has not run here: `make demo` first.")
    return str(runs[0]["dag_run_id"])


def _keep(name: str, png: bytes) -> None:
    (HERE / name).write_bytes(png)
    print(f"{name}: {len(png) // 1000} KB")


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        raise SystemExit("Chromium is needed: install it from your distribution.")
    return found


if __name__ == "__main__":
    main()
