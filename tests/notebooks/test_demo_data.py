"""The demo's data is whole, believable in its figures, and built from what is committed."""

from __future__ import annotations

import csv
import json
import re
import runpy
from pathlib import Path

import pypdf
import pytest

DATA = Path(__file__).parents[2] / "notebooks" / "demo" / "data"
SUM = re.compile(r"(\d+) euros")


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


@pytest.fixture(scope="module")
def products() -> dict[str, dict[str, str]]:
    return {row["product_id"]: row for row in _rows("catalogue.csv")}


@pytest.fixture(scope="module")
def customers() -> dict[str, dict[str, str]]:
    return {row["customer_id"]: row for row in _rows("customers.csv")}


@pytest.fixture(scope="module")
def acceptable() -> dict[str, dict[str, object]]:
    loaded: dict[str, dict[str, object]] = json.loads((DATA / "acceptable.json").read_text("utf-8"))
    return loaded


@pytest.mark.parametrize(
    ("name", "columns", "least"),
    [
        ("catalogue.csv", ["product_id", "name", "category", "price_eur", "description"], 60),
        ("customers.csv", ["customer_id", "name", "text"], 40),
    ],
)
def test_a_file_has_its_columns_unique_ids_and_no_gaps(
    name: str, columns: list[str], least: int
) -> None:
    rows = _rows(name)
    assert list(rows[0]) == columns
    assert len(rows) >= least
    assert len({row[columns[0]] for row in rows}) == len(rows)
    assert len({row["name"] for row in rows}) == len(rows)
    assert all(value and value == value.strip() for row in rows for value in row.values())


def test_prices_are_prices(products: dict[str, dict[str, str]]) -> None:
    assert all(re.fullmatch(r"\d+\.\d\d", row["price_eur"]) for row in products.values())


def test_no_text_is_a_copy_of_another(
    products: dict[str, dict[str, str]], customers: dict[str, dict[str, str]]
) -> None:
    texts = [row["description"] for row in products.values()]
    texts += [row["text"] for row in customers.values()]
    openings = {" ".join(text.split()[:4]) for text in texts}
    assert len(openings) == len(texts)


def test_every_customer_has_acceptable_products_that_exist_and_a_reason(
    products: dict[str, dict[str, str]],
    customers: dict[str, dict[str, str]],
    acceptable: dict[str, dict[str, object]],
) -> None:
    assert list(acceptable) == list(customers)
    for entry in acceptable.values():
        chosen = entry["products"]
        assert isinstance(chosen, list)
        assert 1 <= len(chosen) <= 5
        assert set(chosen) <= set(products)
        assert entry["reason"]


def test_acceptable_products_are_within_the_budget(
    products: dict[str, dict[str, str]],
    customers: dict[str, dict[str, str]],
    acceptable: dict[str, dict[str, object]],
) -> None:
    for customer_id, row in customers.items():
        sums = [float(number) for number in SUM.findall(row["text"])]
        chosen = acceptable[customer_id]["products"]
        assert isinstance(chosen, list)
        dearest = max(float(products[product_id]["price_eur"]) for product_id in chosen)
        assert dearest <= max(sums, default=dearest), customer_id


def test_the_guide_is_a_small_pdf_with_the_words_of_its_source() -> None:
    target = DATA / "buying_guide.pdf"
    pages = [page.extract_text() for page in pypdf.PdfReader(target).pages]
    body = "\n".join(
        page.replace(f"Almgrund Buying Guide - {n}", "") for n, page in enumerate(pages, 1)
    )
    source = re.sub(r"^#+ ", "", (DATA / "guide.md").read_text("utf-8"), flags=re.MULTILINE)
    assert 3 <= len(pages) <= 6
    assert target.stat().st_size < 60_000
    assert body.split() == source.split()


def test_the_guide_is_rebuilt_to_the_same_bytes(tmp_path: Path) -> None:
    script = runpy.run_path(str(DATA / "make_buying_guide.py"))
    script["build"](tmp_path / "guide.pdf", (DATA / "guide.md").read_text("utf-8"))
    assert (tmp_path / "guide.pdf").read_bytes() == (DATA / "buying_guide.pdf").read_bytes()
