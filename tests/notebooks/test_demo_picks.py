"""The demo, notebook by notebook, with the real trial model behind a real gateway.

Postgres, gateway, runner, kernels and lake are the real ones; only Airflow is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from millrace.cli import demo
from millrace.control import open_control, open_runs
from millrace.control.base import Request, Snapshot
from millrace.lake import Lake, open_lake
from millrace.lake.frames import decode_frame
from millrace.model import RunIdentity
from millrace.plan import make_plan
from millrace.runner import RunOrder, run_process
from millrace.runner.wiring import wired
from millrace.settings import Settings
from millrace.stack import credentials, database, gateway, part, postgres
from millrace.stack.ports import free_ports

ROOT = Path(__file__).parents[2]
DAY = date(2026, 11, 20)
STREAM_OF = {
    "ingest_catalogue": "merchandise_recommendation",
    "ingest_guide": "merchandise_recommendation",
    "recommend": "merchandise_recommendation",
    "report": "merchandise_recommendation",
    "digest": "weekly_digest",
}
ENOUGH = 0.9
"""36 of 40."""


@dataclass(frozen=True)
class Demo:
    """What lies in the lake, and in the run log, after all five processes."""

    lake: Lake
    rows: Mapping[str, tuple[int | None, int | None]]

    def frame(self, name: str) -> pd.DataFrame:
        key = f"data/recommendations/{DAY}{name}.parquet"
        return decode_frame(key, self.lake.read_bytes(key))

    def text(self, key: str) -> str:
        return self.lake.read_bytes(key).decode()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Postgres and gateway on free ports, in a home of their own, without any other model."""
    ports = dict(zip(("POSTGRES", "GATEWAY"), free_ports(2), strict=True))
    given = {f"MILLRACE_{name}_PORT": str(number) for name, number in ports.items()}
    home = tmp_path_factory.mktemp("demo home")
    given |= {"MILLRACE_HOME": str(home), "MILLRACE_OLLAMA_HOST": "off"}
    ready = credentials.ensure(Settings.load(given))
    postgres.prepare(ready)
    server, door = postgres.part(ready), gateway.part(ready)
    try:
        part.start(server)
        part.wait_healthy(server)
        database.prepare(ready)
        part.start(door)
        part.wait_healthy(door)
        yield ready
    finally:
        part.stop(door)
        part.stop(server)


@pytest.fixture(scope="module")
def done(settings: Settings) -> Demo:
    lake = open_lake(settings.lake_url)
    demo.load_rows(settings)
    demo.load_files(settings, lake)
    plan = make_plan(open_control(settings.database_url).read_rows(), None)
    assert not plan.faults
    open_control(settings.database_url).save_snapshot(Snapshot(plan.control_version, plan.content))
    for process, stream in STREAM_OF.items():
        _run(settings, process, stream, plan.control_version)
    log = open_runs(settings.database_url).log()
    return Demo(lake, {e.identity.process_name: (e.source_rows, e.target_rows) for e in log})


def _run(settings: Settings, process: str, stream: str, version: str) -> None:
    identity = RunIdentity(process, DAY, 1)
    began = datetime.now(UTC)
    request = Request(identity, stream, version, f"test__{process}#0", began)
    assert open_runs(settings.database_url).request(request).verdict == "start"
    order = RunOrder(identity, stream, identity.run_id, 0, version)
    assert run_process(order, wired(settings)).status == "success"


def test_the_trial_models_picks_make_sense(done: Demo) -> None:
    accepted = json.loads((ROOT / "notebooks/demo/data/acceptable.json").read_text("utf-8"))
    picks = done.frame("")
    assert picks["customer_id"].is_unique
    right = [row.product_id in accepted[row.customer_id]["products"] for row in picks.itertuples()]
    for row, is_right in zip(picks.itertuples(), right, strict=True):
        if not is_right:
            print(f"{row.customer_id} got {row.product_id} {row.product}: {row.reason}")
    print(f"acceptable picks: {sum(right)} of {len(accepted)} customers")
    assert sum(right) >= ENOUGH * len(accepted)


def test_every_customer_is_either_served_or_put_aside(done: Demo) -> None:
    customers = pd.read_csv(ROOT / "notebooks/demo/data/customers.csv")
    served = [*done.frame("")["customer_id"], *done.frame(".quarantine")["customer_id"]]
    assert sorted(served) == sorted(customers["customer_id"])


def test_the_table_holds_catalogue_facts_within_the_budget_and_names_the_model(done: Demo) -> None:
    picks = done.frame("")
    catalogue = pd.read_csv(ROOT / "notebooks/demo/data/catalogue.csv").set_index("product_id")
    known = catalogue.loc[picks["product_id"]]
    assert list(picks["product"]) == list(known["name"])
    assert list(picks["price_eur"]) == list(known["price_eur"])
    named = picks.dropna(subset="budget_eur")
    assert len(named) > 0
    assert (named["price_eur"] <= named["budget_eur"]).all()
    assert picks["model"].str.contains("trial").all()
    assert picks["confidence"].between(0, 1).all()


def test_the_report_stands_alone_and_gives_every_reason(done: Demo) -> None:
    page = done.text(f"data/reports/{DAY}.html")
    assert page.count("<svg") == 3
    assert not any(mark in page for mark in ("<script", "<link", 'src="', "@import"))
    assert all(customer in page for customer in done.frame("")["customer_id"])


def test_the_digest_is_one_page_on_the_day(done: Demo) -> None:
    digest = done.text(f"data/digests/{DAY}.md")
    assert digest.startswith("# Recommendations of Friday, 20 November 2026")
    assert len(digest.splitlines()) < 50


def test_the_run_log_has_the_counts(done: Demo) -> None:
    catalogue = pd.read_csv(ROOT / "notebooks/demo/data/catalogue.csv")
    customers = pd.read_csv(ROOT / "notebooks/demo/data/customers.csv")
    assert set(done.rows) == set(STREAM_OF)
    assert done.rows["ingest_catalogue"] == (len(catalogue), len(catalogue))
    assert done.rows["recommend"] == (len(customers), len(done.frame("")))
