"""The trial model itself: a request in, quoted text out; texts in, vectors out. Blocking."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from millrace.errors import RequestRefused
from millrace.gateway.backends.base import Ask, Sampling
from millrace.gateway.backends.trial.evidence import gather
from millrace.gateway.backends.trial.fill import fill
from millrace.gateway.backends.trial.minilm import MiniLM
from millrace.gateway.backends.trial.minilm_facts import DIMENSIONS, MAX_TOKENS
from millrace.gateway.backends.trial.prompt import read_prompt
from millrace.gateway.backends.trial.similarity import Similarity
from millrace.gateway.backends.trial.speaking import free_answer
from millrace.gateway.backends.trial.weights import Array, load, model_dir


@dataclass(frozen=True, slots=True)
class Quoted:
    """An answer in whole, with its token counts."""

    text: str
    reason: str
    prompt_tokens: int
    answer_tokens: int


class Brain:
    """MiniLM and what is made of it."""

    def __init__(self, model: MiniLM) -> None:
        self._model = model
        self._similarity = Similarity(model)

    def answer(self, ask: Ask) -> Quoted:
        """The same answer to the same request, always."""
        asked = [m.content for m in ask.messages if m.role in ("system", "user") and m.content]
        evidence = gather(self._similarity, read_prompt("\n\n".join(asked)))
        if ask.format is None:
            text = free_answer(evidence)
        else:
            schema = JSON_ANSWER if ask.format == "json" else ask.format
            text = json.dumps(fill(schema, evidence), ensure_ascii=False)
        prompt_tokens = sum(self._model.count(message.content) for message in ask.messages)
        return self._limited(text, ask.sampling, prompt_tokens)

    def embed(
        self, texts: Sequence[str], truncate: bool, dimensions: int | None
    ) -> tuple[list[list[float]], int]:
        """The vectors of texts, and the tokens that were read."""
        tokens = self._model.tokens(texts)
        for place, text in enumerate(tokens):
            if text.count > MAX_TOKENS and not truncate:
                raise RequestRefused(
                    f"input {place} has {text.count} tokens and exceeds the {MAX_TOKENS} of the model."
                )
        vectors = _shortened(self._model.embed(tokens), dimensions)
        found: list[list[float]] = vectors.tolist()
        return found, sum(len(text.ids) for text in tokens)

    def _limited(self, text: str, sampling: Sampling, prompt_tokens: int) -> Quoted:
        """The text up to a stop sequence and num_predict, as a language model would be held."""
        for stop in sampling.stop:
            text = text.split(stop, 1)[0] if stop else text
        limit = sampling.num_predict
        ends = self._model.ends(text)
        if limit is not None and 0 <= limit < len(ends):
            kept = text[: ends[limit - 1]] if limit else ""
            return Quoted(kept, "length", prompt_tokens, limit)
        return Quoted(text, "stop", prompt_tokens, len(ends))


JSON_ANSWER = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}
"""What is filled when only `format: "json"` is asked."""


def load_brain() -> Brain:
    """Load MiniLM from its package; BackendUnavailable if it is missing or not genuine."""
    folder = model_dir()
    return Brain(MiniLM(load(folder / "model.safetensors"), folder / "tokenizer.json"))


def _shortened(vectors: Array, dimensions: int | None) -> Array:
    if dimensions is None or dimensions >= DIMENSIONS:
        return vectors
    short = vectors[:, :dimensions]
    unit: Array = short / np.linalg.norm(short, axis=1, keepdims=True)
    return unit
