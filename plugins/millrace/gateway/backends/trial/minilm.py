"""all-MiniLM-L6-v2 in numpy: texts in, unit vectors of 384 floats out.

The network is BERT's (6 layers, 12 heads of 32), its output the mean over a text's tokens.
Texts are laid end to end and never padded: only attention looks at them one by one. Each core
works on its own batch, with one BLAS thread: half as fast again as one batch over all cores,
whose threads wait for each other, and for two thirds of the processor time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from os import cpu_count
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from millrace.gateway.backends.trial.minilm_facts import DIMENSIONS, MAX_TOKENS
from millrace.gateway.backends.trial.weights import Array

LAYERS = 6
HEADS = 12
HEAD_WIDTH = 32
BATCH_TOKENS = 384
"""Tokens a core works on at once: the widest layer then stays in its cache."""

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's token ids; `count` is what the whole text has, also when it was cut."""

    ids: Ids
    count: int


class MiniLM:
    """The model with its tokenizer. Thread-safe; numpy lets go of the GIL where it counts."""

    def __init__(self, weights: Mapping[str, Array], tokenizer_file: Path) -> None:
        self._weights = weights
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self._cores = ThreadPoolExecutor(cpu_count(), thread_name_prefix="minilm")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, text: str) -> int:
        """How many tokens the text has."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def ends(self, text: str) -> list[int]:
        """Where in the text each of its tokens ends."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return [end for _, end in encoded.offsets]

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """The texts as tokens, each cut to MAX_TOKENS."""
        encoded = self._tokenizer.encode_batch(list(texts))
        return [Tokens(_cut(np.array(e.ids, np.int64)), len(e.ids)) for e in encoded]

    def embed(self, texts: Sequence[Tokens]) -> Array:
        """The unit vectors of texts: (n, 384) float32."""
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        batches = list(_batches(texts))
        ids = [[texts[i].ids for i in batch] for batch in batches]
        for batch, found in zip(batches, self._cores.map(self._forward, ids), strict=True):
            vectors[batch] = found
        return vectors

    def _forward(self, texts: list[Ids]) -> Array:
        bounds = np.cumsum([0, *map(len, texts)])
        x = self._embeddings(texts)
        for layer in range(LAYERS):
            x = self._layer(f"encoder.layer.{layer}", x, bounds)
        means = np.add.reduceat(x, bounds[:-1], axis=0) / np.diff(bounds)[:, None]
        return _unit(means.astype(np.float32))

    def _embeddings(self, texts: list[Ids]) -> Array:
        w = self._weights
        x = w["embeddings.word_embeddings.weight"][np.concatenate(texts)]
        positions = np.concatenate([np.arange(len(ids)) for ids in texts])
        x = x + w["embeddings.position_embeddings.weight"][positions]
        x += w["embeddings.token_type_embeddings.weight"][0]
        return self._normed("embeddings.LayerNorm", x)

    def _layer(self, name: str, x: Array, bounds: Ids) -> Array:
        query, key, value = (
            self._dense(f"{name}.attention.self.{part}", x) for part in ("query", "key", "value")
        )
        query *= np.float32(HEAD_WIDTH**-0.5)
        mixed = np.empty_like(x)
        for start, end in pairwise(bounds):
            at = slice(start, end)
            mixed[at] = _attention(query[at], key[at], value[at])
        x = x + self._dense(f"{name}.attention.output.dense", mixed)
        x = self._normed(f"{name}.attention.output.LayerNorm", x)
        inner = _gelu(self._dense(f"{name}.intermediate.dense", x))
        x = x + self._dense(f"{name}.output.dense", inner)
        return self._normed(f"{name}.output.LayerNorm", x)

    def _dense(self, name: str, x: Array) -> Array:
        product: Array = x @ self._weights[f"{name}.weight"].T
        product += self._weights[f"{name}.bias"]
        return product

    def _normed(self, name: str, x: Array) -> Array:
        x -= x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", x, x) / x.shape[1]
        x *= (1 / np.sqrt(variance + np.float32(1e-12)))[:, None]
        x *= self._weights[f"{name}.weight"]
        x += self._weights[f"{name}.bias"]
        return x


def _attention(query: Array, key: Array, value: Array) -> Array:
    """Every token of one text looks at every other: (n, 384) each."""
    q, k, v = (
        part.reshape(-1, HEADS, HEAD_WIDTH).transpose(1, 0, 2) for part in (query, key, value)
    )
    scores: Array = q @ k.transpose(0, 2, 1)
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    mixed: Array = scores @ v
    return mixed.transpose(1, 0, 2).reshape(-1, DIMENSIONS)


def _gelu(x: Array) -> Array:
    """GELU by its tanh form: three times faster here, cosine to the exact form above 0.99999."""
    inner = x * x
    inner *= np.float32(0.044715)
    inner += np.float32(1)
    inner *= x
    inner *= np.float32(0.7978845608)
    np.tanh(inner, out=inner)
    inner += np.float32(1)
    inner *= x
    inner *= np.float32(0.5)
    return inner


def _batches(texts: Sequence[Tokens]) -> Iterator[list[int]]:
    """Which texts go together: as many as BATCH_TOKENS holds, and at least one."""
    batch: list[int] = []
    size = 0
    for i, text in enumerate(texts):
        if batch and size + len(text.ids) > BATCH_TOKENS:
            yield batch
            batch, size = [], 0
        batch.append(i)
        size += len(text.ids)
    if batch:
        yield batch


def _cut(ids: Ids) -> Ids:
    """The first MAX_TOKENS, still ending in [SEP]."""
    return ids if len(ids) <= MAX_TOKENS else np.append(ids[: MAX_TOKENS - 1], ids[-1])


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Array = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit
