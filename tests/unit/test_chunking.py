"""Chunks fit the model that embeds them, overlap as asked, and lose nothing."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import pytest
from tokenizers import Tokenizer

from millrace.notebook.chunking import TOKENIZER, split_text

SENTENCES = [f"Boot number {n} keeps its wearer dry in rain and in snow." for n in range(80)]


@lru_cache
def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_str(
        resources.files(TOKENIZER[0]).joinpath(*TOKENIZER[1:]).read_text()
    )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _tokens(text: str) -> int:
    return len(_tokenizer().encode(text).ids)


@pytest.mark.parametrize("chunk_size", [1, 3, 16, 64, 256])
def test_no_chunk_is_longer_than_the_model_reads(chunk_size: int) -> None:
    chunks = split_text(" ".join(SENTENCES), chunk_size=chunk_size, chunk_overlap=0)
    longest = max(_tokens(chunk) for chunk in chunks)
    assert longest <= max(chunk_size, 3)
    if chunk_size >= 64:
        assert longest > chunk_size / 2


def test_cuts_are_between_sentences_and_nothing_is_lost() -> None:
    chunks = split_text(" ".join(SENTENCES), chunk_size=64, chunk_overlap=0)
    assert " ".join(chunks) == " ".join(SENTENCES)
    assert all(chunk.endswith(".") for chunk in chunks)


def test_neighbours_share_the_overlap() -> None:
    chunks = split_text(" ".join(SENTENCES), chunk_size=64, chunk_overlap=20)
    shared = [s for s in SENTENCES if sum(s in chunk for chunk in chunks) == 2]
    assert len(shared) >= len(chunks) - 2


def test_markdown_is_cut_at_its_headings() -> None:
    text = "\n\n".join(f"# Part {n}\n\n{' '.join(SENTENCES[:3])}" for n in range(4))
    chunks = split_text(text, chunk_size=64, chunk_overlap=0, markdown=True)
    assert sum(chunk.startswith("# Part") for chunk in chunks) == 4


def test_what_holds_no_word_is_no_chunk() -> None:
    assert split_text("", chunk_size=64, chunk_overlap=0) == []
    assert split_text(" \n --- ... \n", chunk_size=64, chunk_overlap=0) == []
    assert split_text("short", chunk_size=64, chunk_overlap=100) == ["short"]
