"""`open_run()` against a real control database: in production by its token, else interactive."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from millrace import open_run
from millrace.control.base import Request, Snapshot
from millrace.control.postgres import PostgresControl
from millrace.control.postgres_runs import PostgresRuns
from millrace.errors import ContractError, ObjectNotFound, StaleFence, UnknownName
from millrace.model import Attempt, Outcome, RunIdentity
from millrace.vectors import open_collections
from tests.databases import as_role
from tests.notebooks.fake_gateway import FakeGateway, serving

VERSION = "00112233445566aa"
DAY = date(2026, 11, 20)
GENERATIONS = itertools.count(1)
CONTENT: dict[str, Any] = {
    "format": 1,
    "streams": {
        "shop": {
            "stream": {
                "stream_name": "shop", "question": "What suits?", "parameters": {"a": 1, "b": 1},
                "time_zone": "UTC", "is_live": False, "data_date": "2026-11-20",
            },
            "groups": [{"group_name": "g", "stream_name": "shop"}],
            "processes": [
                {
                    "process_name": "recommend", "group_name": "g", "notebook_path": "x.ipynb",
                    "parameters": {"b": 2}, "source_file": "catalogue", "collection": "catalogue",
                    "gen_model": None, "embed_model": None, "llm_priority": "batch",
                }
            ],
            "dependencies": [],
            "source_files": [
                {
                    "source_file": "catalogue", "file_type": "csv", "delimiter": ";",
                    "chunk_size": 64, "chunk_overlap": 0, "lake_prefix": "raw/catalogue.csv",
                }
            ],
            "schedule": None,
            "faults": [],
        }
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def control_url(database_url: str) -> str:
    PostgresControl(database_url).save_snapshot(Snapshot(VERSION, CONTENT))
    open_collections(database_url).prepare()
    return database_url


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving(FakeGateway()) as running:
        yield running


@pytest.fixture
def home(
    control_url: str, gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The environment that a kernel or JupyterLab gets."""
    kernel_url = as_role(control_url, "millrace_kernel")
    values = {
        "MILLRACE_HOME": str(tmp_path),
        "MILLRACE_KERNEL_DATABASE_URL": kernel_url,
        "MILLRACE_AUTHOR_DATABASE_URL": as_role(control_url, "millrace_author"),
        "MILLRACE_VECTORS_URL": kernel_url,
        "MILLRACE_LAKE_URL": (tmp_path / "lake").as_uri(),
        "MILLRACE_GATEWAY_URL": gateway.url,
        "MILLRACE_GATEWAY_KEY": "secret-key",
    }
    for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
        monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def _take(control_url: str, generation: int, dag_run_id: str = "dag") -> Attempt:
    runs = PostgresRuns(control_url, fresh_s=0)
    identity = RunIdentity("recommend", DAY, generation)
    if runs.process_run(identity) is None:
        runs.request(Request(identity, "shop", VERSION, "dag#0", datetime.now(UTC)))
    attempt = runs.open_attempt(
        identity,
        stream_name="shop",
        dag_run_id=dag_run_id,
        control_version=VERSION,
        clear_number=0,
    )
    assert attempt is not None
    return attempt


@pytest.fixture
def attempt(control_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """A live attempt of a generation of its own, its token in the environment."""
    taken = _take(control_url, next(GENERATIONS))
    monkeypatch.setenv("MILLRACE_RUN_TOKEN", taken.token)
    return taken


def test_production_tells_what_the_row_says(attempt: Attempt) -> None:
    run = open_run(attempt.run_id)
    assert (run.process, run.stream, run.data_date) == ("recommend", "shop", DAY)
    assert (run.generation, run.attempt) == (attempt.identity.generation, 1)
    assert run.parameters == {"a": 1, "b": 2}
    assert run.question == "What suits?"
    assert (run.collection_name, run.gen_model) == ("catalogue", "")
    assert run.source_file is not None
    assert (run.source_file.chunk_size, run.source_file.delimiter) == (64, ";")
    assert not run.is_interactive
    with pytest.raises(ContractError, match="names run 'other'"):
        open_run("other")


def test_output_goes_to_data_and_counts_to_the_log(
    attempt: Attempt, control_url: str, home: Path
) -> None:
    run = open_run(attempt.run_id)
    answers = run.llm.map(pd.DataFrame({"q": ["a", "b"]}), prompt="{q}", key="q")
    manifest = run.lake.write_frame(answers.ok, "answers/{data_date}.parquet")
    run.finish(source_rows=2, target_rows=len(answers.ok))
    assert manifest.key == "data/answers/2026-11-20.parquet"
    assert manifest.fence == attempt.fence
    plain = pd.read_parquet(home / "lake" / manifest.key)
    assert plain.to_dict("list") == {"q": ["a", "b"], "answer": ["fine", "fine"]}
    [entry, *_] = PostgresRuns(control_url).log(process_name="recommend", limit=1)
    assert (entry.source_rows, entry.target_rows) == (2, 2)
    assert (entry.tokens_in, entry.tokens_out) == (20, 10)
    assert entry.llm_seconds is not None
    assert entry.llm_seconds > 0


def test_an_attempt_that_was_overtaken_changes_nothing(
    attempt: Attempt, control_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = open_run(attempt.run_id)
    _ = old.lake
    old.collection("fenced").upsert(["before"])
    newer = _take(control_url, attempt.identity.generation)
    assert newer.fence == attempt.fence + 1
    with pytest.raises(StaleFence):
        old.lake.write_text("late", "x.txt")
    with pytest.raises(StaleFence):
        old.collection("fenced").replace(["late"])
    with pytest.raises(StaleFence):
        old.finish(source_rows=1, target_rows=1)
    with pytest.raises(StaleFence):
        old.llm.chat("late")
    monkeypatch.setenv("MILLRACE_RUN_TOKEN", newer.token)
    new = open_run()
    assert not new.lake.exists("x.txt")
    assert [hit.text for hit in new.collection("fenced").search("late")] == ["before"]
    new.lake.write_text("new", "x.txt")
    PostgresRuns(control_url).close_attempt(newer, Outcome("success"))
    with pytest.raises(StaleFence):
        new.lake.write_text("after the end", "x.txt")
    assert (home / "lake" / "data" / "x.txt").read_text() == "new"


def test_interactive_takes_the_newest_rows_and_writes_to_scratch(home: Path) -> None:
    run = open_run(process="recommend")
    assert run.is_interactive
    assert (run.data_date, run.parameters, run.question) == (DAY, {"a": 1, "b": 2}, "What suits?")
    assert open_run(process="recommend", data_date="2026-01-02").data_date == date(2026, 1, 2)
    (home / "lake" / "data" / "raw").mkdir(parents=True)
    (home / "lake" / "data" / "raw" / "orders.csv").write_text("id\n1\n")
    assert len(run.lake.read_frame("raw/orders.csv")) == 1
    assert len(run.lake.read_frame("orders.csv")) == 1
    manifest = run.lake.write_frame(pd.DataFrame({"id": [1, 2]}), "raw/orders.csv")
    assert manifest.key == "scratch/raw/orders.csv"
    assert len(run.lake.read_frame("raw/orders.csv")) == 2
    assert (home / "lake" / "data" / "raw" / "orders.csv").read_text() == "id\n1\n"
    assert run.lake.list("raw/") == ["raw/orders.csv"]
    run.finish(source_rows=1, target_rows=1)


def test_interactive_names_what_is_missing(home: Path) -> None:
    with pytest.raises(ContractError, match=r"open_run\(process="):
        open_run()
    with pytest.raises(UnknownName, match=r"'recomend'.*There are: recommend"):
        open_run(process="recomend")
    with pytest.raises(ContractError, match="is no date"):
        open_run(process="recommend", data_date="20.11.2026")
    run = open_run(process="recommend")
    with pytest.raises(ObjectNotFound, match="nothing"):
        run.lake.read_frame("nothing.csv")
    with pytest.raises(ContractError, match=r"\{day\}.*data_date, generation"):
        run.lake.write_text("", "{day}.txt")


def test_an_authors_collection_is_beside_the_production_one(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    production = open_run(attempt.run_id)
    production.collection("shared").upsert(["made by the run"])
    monkeypatch.delenv("MILLRACE_RUN_TOKEN")
    author = open_run(process="recommend")
    assert [h.text for h in author.collection("shared").search("made")] == ["made by the run"]
    author.collection("shared").upsert(["tried by the author"])
    assert [h.text for h in author.collection("shared").search("made")] == ["tried by the author"]
    assert [h.text for h in production.collection("shared").search("made")] == ["made by the run"]
    author.collection("shared").drop()
    assert [h.text for h in author.collection("shared").search("made")] == ["made by the run"]


def test_hits_are_a_column_of_a_prompt_and_of_an_output(
    attempt: Attempt, gateway: FakeGateway
) -> None:
    run = open_run(attempt.run_id)
    run.collection().replace(
        [{"text": "boots for hiking", "title": "Boots", "id": 7}, "a hat", "red shoes"]
    )
    orders = pd.DataFrame({"text": ["hiking", "hat"]}, index=[10, 20])
    context = run.collection().search(orders["text"], k=1)
    assert list(context.index) == [10, 20]
    assert str(context[10]) == "[Boots] boots for hiking"
    assert context[10][0].properties == {"title": "Boots", "id": 7}
    answers = run.llm.map(orders.assign(context=context), prompt="{text}: {context}")
    assert gateway.chats[0]["messages"][0]["content"] == "hiking: [Boots] boots for hiking"
    run.lake.write_frame(answers.ok, "answers.parquet")
    back = run.lake.read_frame("answers.parquet")
    assert back["context"][0] == "[Boots] boots for hiking"
    assert list(back["context_chunk_ids"][0]) == context[10].chunk_ids
    assert len(run.collection().search([])) == 0


def test_only_new_texts_are_embedded(attempt: Attempt, gateway: FakeGateway) -> None:
    collection = open_run(attempt.run_id).collection("incremental")
    first = collection.replace([{"text": "a", "n": 1}, {"text": "b", "n": 1}])
    assert (first.chunks, first.embedded, first.unchanged, first.deleted) == (2, 2, 0, 0)
    gateway.embedded.clear()
    second = collection.replace([{"text": "b", "n": 2}, {"text": "c", "n": 2}])
    assert (second.chunks, second.embedded, second.unchanged, second.deleted) == (2, 1, 0, 1)
    assert gateway.embedded == ["c"]
    hits = collection.search("b", mode="keyword")
    assert [hit.properties for hit in hits] == [{"n": 2}]
    third = collection.upsert(["d"])
    assert (third.embedded, third.deleted) == (1, 0)
    assert json.dumps(vars(collection.info())) == json.dumps(
        {"name": "incremental", "dim": 32, "embed_model": "fake-embed", "chunks": 3}
    )
