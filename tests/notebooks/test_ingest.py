"""`run.ingest()`: the collection holds what the documents hold, and nothing is embedded twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest

from millrace.errors import LakeError
from millrace.lake import open_lake
from millrace.lake.manifest import Writer
from millrace.model import SourceFile
from millrace.notebook.client import GatewayAddress
from millrace.notebook.collection import RunCollection
from millrace.notebook.ingest import ingest
from millrace.notebook.llm import Llm
from millrace.notebook.record import ScratchRecord
from millrace.notebook.runlake import RunLake
from millrace.vectors import open_collections
from tests.notebooks.fake_gateway import FakeGateway, serving

TEMPLATE = "{name}: {description}"
CATALOGUE = SourceFile("catalogue", "csv", ",", 64, 0, "raw/catalogue.csv")
NOTES = SourceFile("notes", "txt", None, 64, 0, "raw/notes/")


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving(FakeGateway()) as running:
        yield running


@pytest.fixture
def collection(database_url: str, gateway: FakeGateway) -> Iterator[RunCollection]:
    collections = open_collections(database_url)
    llm = Llm(GatewayAddress(gateway.url), ScratchRecord(), patience_s=0.3)
    made = RunCollection(f"c{uuid4().hex[:8]}", collections, llm, token=None, interactive=False)
    yield made
    made.drop()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "lake" / "data" / "raw"
    (folder / "notes").mkdir(parents=True)
    return folder


@pytest.fixture
def lake(tmp_path: Path, raw: Path) -> RunLake:
    writer = Writer("r", 1, 1, lambda: None)
    names = {"data_date": date(2026, 11, 20)}
    return RunLake(open_lake((tmp_path / "lake").as_uri()), writer, names, interactive=False)


def _rows(*rows: str) -> str:
    return "\n".join(["name,description,price", *rows])


def test_rows_become_chunks_with_their_columns(
    lake: RunLake, collection: RunCollection, raw: Path
) -> None:
    (raw / "catalogue.csv").write_text(_rows("Boot,for hiking,90", "Hat,for winter,20"))
    report = ingest(lake, collection, CATALOGUE, text=TEMPLATE)
    assert (report.files, report.source_rows, report.chunks, report.embedded) == (1, 2, 2, 2)
    hit = collection.search("hiking", k=1)[0]
    assert (hit.text, hit.title, hit.row, hit.position) == ("Boot: for hiking", "Boot", 1, 0)
    assert hit.source_uri == "raw/catalogue.csv"
    assert hit.properties["price"] == 90


def test_only_what_changed_is_embedded_and_what_vanished_goes(
    lake: RunLake, collection: RunCollection, raw: Path, gateway: FakeGateway
) -> None:
    file = raw / "catalogue.csv"
    file.write_text(_rows("Boot,for hiking,90", "Hat,for winter,20", "Sock,of wool,5"))
    ingest(lake, collection, CATALOGUE, text=TEMPLATE)
    gateway.embedded.clear()
    again = ingest(lake, collection, CATALOGUE, text=TEMPLATE)
    assert (again.unchanged, again.embedded, again.deleted) == (3, 0, 0)
    file.write_text(_rows("Tent,for two,200", "Boot,for hiking,80", "Sock,of wool,5"))
    changed = ingest(lake, collection, CATALOGUE, text=TEMPLATE)
    assert (changed.embedded, changed.unchanged, changed.deleted) == (1, 1, 1)
    assert gateway.embedded == ["Tent: for two"]
    boot = collection.search("boot", mode="keyword")[0]
    assert (boot.properties["price"], boot.row) == (80, 2)
    assert len(collection.search("hat", mode="keyword")) == 0


def test_two_sources_share_a_collection(
    lake: RunLake, collection: RunCollection, raw: Path
) -> None:
    (raw / "catalogue.csv").write_text(_rows("Boot,for hiking,90"))
    (raw / "notes" / "a.txt").write_text("Wool is warm. " * 40)
    ingest(lake, collection, CATALOGUE, text=TEMPLATE)
    report = ingest(lake, collection, NOTES)
    assert report.chunks > 1
    assert report.deleted == 0
    assert len(collection.search("boot", mode="keyword")) == 1
    hits = collection.search("wool", k=50, mode="keyword")
    assert {hit.title for hit in hits} == {"a.txt"}


def test_a_document_that_is_gone_takes_its_chunks_along(
    lake: RunLake, collection: RunCollection, raw: Path
) -> None:
    (raw / "notes" / "a.txt").write_text("about wool")
    (raw / "notes" / "b.txt").write_text("about cotton")
    (raw / "notes" / "ignored.pdf").write_text("not a text")
    assert ingest(lake, collection, NOTES).files == 2
    (raw / "notes" / "b.txt").unlink()
    assert ingest(lake, collection, NOTES).deleted == 1


def test_an_empty_folder_is_an_error_and_deletes_nothing(
    lake: RunLake, collection: RunCollection, raw: Path
) -> None:
    file = raw / "notes" / "a.txt"
    file.write_text("about wool")
    ingest(lake, collection, NOTES)
    file.unlink()
    with pytest.raises(LakeError, match=r"'notes'.*data/raw/notes/.*lake_prefix"):
        ingest(lake, collection, NOTES)
    assert len(collection.search("wool", mode="keyword")) == 1


def test_a_broken_document_is_named_and_keeps_what_was_known_of_it(
    lake: RunLake, collection: RunCollection, raw: Path
) -> None:
    for name in "ab":
        (raw / "notes" / f"{name}.json").write_text(f'[{{"text": "{name} is known"}}]')
    source = SourceFile("notes", "json", None, 64, 0, "raw/notes/")
    ingest(lake, collection, source)
    (raw / "notes" / "a.json").write_text("[{broken")
    (raw / "notes" / "b.json").write_text('[{"text": "b is new"}]')
    report = ingest(lake, collection, source)
    assert list(report.failed) == ["raw/notes/a.json"]
    assert (report.embedded, report.deleted) == (1, 1)
    assert len(collection.search("known", mode="keyword")) == 1
    (raw / "notes" / "b.json").write_text("[{broken too")
    with pytest.raises(LakeError, match=r"No document of 'notes' can be read; raw/notes/a\.json"):
        ingest(lake, collection, source)
