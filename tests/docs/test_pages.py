"""README and how-tos: their commands exist, their SQL runs, their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import psycopg2
import pytest

from millrace.cli import cli
from millrace.cli.reference import cli_page, settings_page
from millrace.settings import NOTIFY_PREFIX, PREFIX, Settings
from tests.docs.blocks import ROOT, Block, blocks

README = ROOT / "README.md"
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
HOW_TOS = sorted((ROOT / "docs" / "howto").glob("*.md"))
LINK = re.compile(r"\]\(((?!https?:|#)[^)]+)\)")


def names(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


def code_of(page: Path) -> str:
    """What a page gives a reader to type."""
    text = page.read_text("utf-8")
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return "\n".join([*spans, *(block.text for block in blocks(page) if block.language == "shell")])


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        path, _, heading = link.partition("#")
        assert (page.parent / path).exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", (page.parent / path).read_text("utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_and_targets_exist(page: Path) -> None:
    code = code_of(page)
    for command in re.findall(r"(?:^|[\s(])millrace ([a-z]+)", code, re.MULTILINE):
        assert command in cli.commands, f"millrace {command}"
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"\bmake ([a-z-]+)", code):
        assert target in targets, f"make {target}"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_settings_exist(page: Path) -> None:
    known = {f"{PREFIX}{f.name.upper()}" for f in fields(Settings)}
    named = set(re.findall(r"\bMILLRACE_[A-Z_]+", page.read_text("utf-8")))
    unknown = {n for n in named - known if not n.startswith(NOTIFY_PREFIX)}
    assert unknown <= {"MILLRACE_RUN_TOKEN", "MILLRACE_TEST_POSTGRES"}


def test_the_readme_says_the_two_commands_and_shows_both_pictures() -> None:
    [first, *_] = blocks(README)
    assert re.findall(r"^make (\w+)", first.text, re.MULTILINE) == ["demo", "down"]
    for name in ("stream_graph.png", "report.png"):
        picture = ROOT / "docs" / "images" / name
        assert f"](docs/images/{name})" in README.read_text("utf-8")
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < 250_000


@pytest.mark.parametrize("page", HOW_TOS, ids=names(HOW_TOS))
def test_the_sql_of_a_how_to_runs_on_the_demos_rows(page: Path, database_url: str) -> None:
    statements = [block.text for block in blocks(page) if block.language == "sql"]
    connection = psycopg2.connect(database_url)
    try:
        cursor = connection.cursor()
        demo = (ROOT / "sql" / "demo.sql").read_text("utf-8")
        cursor.execute(re.sub(r"^(BEGIN|COMMIT);", "", demo, flags=re.MULTILINE))
        cursor.execute("DELETE FROM control.process_dependency WHERE process_name = 'digest'")
        for statement in statements:
            cursor.execute(statement)
            assert cursor.rowcount == 1, statement
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    finally:
        connection.rollback()
        connection.close()


@pytest.mark.parametrize("page", [README, *HOW_TOS], ids=names([README, *HOW_TOS]))
def test_shell_blocks_are_shell(page: Path) -> None:
    for block in blocks(page):
        if block.language == "shell":
            subprocess.run(["bash", "-n", "-c", block.text], check=True, capture_output=True)


def test_the_how_tos_have_blocks_of_both_kinds() -> None:
    found: list[Block] = [block for page in HOW_TOS for block in blocks(page)]
    assert {block.language for block in found} >= {"sql", "shell"}
    assert len(found) >= 6


def test_the_reference_pages_are_current() -> None:
    reference = ROOT / "docs" / "reference"
    for name, text in (("cli", cli_page()), ("settings", settings_page())):
        told = f"run python -m millrace.cli.reference {name} > docs/reference/{name}.md"
        assert (reference / f"{name}.md").read_text("utf-8") == text, told
