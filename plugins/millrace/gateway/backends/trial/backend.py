"""The trial backend: `millrace-trial` answers by quoting, `all-minilm` embeds."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar

from millrace.errors import BackendUnavailable, MillraceError, RequestRefused
from millrace.gateway.backends.base import Ask, Done, EmbedAsk, Embedded, Health, Model, Piece
from millrace.gateway.backends.trial import cards

if TYPE_CHECKING:
    from millrace.gateway.backends.trial.brain import Brain

logger = logging.getLogger(__name__)

EMBED_BATCH = 32
"""Texts embedded between two looks at whether the caller is still there."""
_PIECE = re.compile(r"\s*\S+|\s+\Z")

Result = TypeVar("Result")


class TrialBackend:
    """Both trial models, computed in two threads beside the event loop."""

    name = "trial"
    slots = 2

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.slots, thread_name_prefix="trial")
        self._loading: asyncio.Task[None] | None = None
        self._brain: Brain | None = None
        self._fault = ""

    async def start(self) -> None:
        """Begin to load MiniLM: about 0.3 s."""
        self._loading = asyncio.create_task(self._load())

    async def close(self) -> None:
        """Let the threads end."""
        if self._loading:
            self._loading.cancel()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def loaded(self) -> None:
        """Wait until MiniLM is loaded or has failed to."""
        if self._loading:
            await asyncio.wait({self._loading})

    async def health(self) -> Health:
        """loading, ready, or down with the reason."""
        if self._fault:
            return Health("down", self._fault)
        return Health("ready" if self._brain else "loading")

    async def models(self) -> Sequence[Model]:
        """The two models, as soon as they are loaded."""
        return (cards.TRIAL, cards.MINILM) if self._brain else ()

    async def show(self, model: Model) -> Mapping[str, Any]:
        """What the model is; plainly, a trial model."""
        return cards.page(model)

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """Quotes of the prompt's context, or the schema filled from one context item."""
        started = perf_counter_ns()
        _refuse_unless(ask.model == cards.TRIAL.name, ask.model, "text generation")
        _refuse_unless(not ask.needs, ask.model, ", ".join(sorted(ask.needs)))
        if ask.is_empty:
            yield Piece(done=Done("load"))
            return
        answer = await self._run(lambda: self._ready().answer(ask))
        for part in _PIECE.findall(answer.text):
            yield Piece(part)
        spent = perf_counter_ns() - started
        counts = (answer.prompt_tokens, answer.answer_tokens)
        yield Piece(done=Done(answer.reason, *counts, total_ns=spent, answer_ns=spent))

    async def embed(self, ask: EmbedAsk) -> Embedded:
        """Unit vectors of 384 floats; a text over 256 tokens is cut, or refused."""
        started = perf_counter_ns()
        _refuse_unless(ask.model == cards.MINILM.name, ask.model, "embeddings")
        vectors: list[list[float]] = []
        read = 0
        for i in range(0, len(ask.texts), EMBED_BATCH):
            found, tokens = await self._run(partial(self._embed, ask, i))
            vectors += found
            read += tokens
        return Embedded(vectors, read, perf_counter_ns() - started)

    def _embed(self, ask: EmbedAsk, start: int) -> tuple[list[list[float]], int]:
        batch = ask.texts[start : start + EMBED_BATCH]
        return self._ready().embed(batch, ask.truncate, ask.dimensions)

    async def _load(self) -> None:
        try:
            self._brain = await self._run(_load_brain)
        except MillraceError as error:
            self._fault = str(error)
            logger.error("The trial model is not there: %s", error, extra={"action": "load"})

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _ready(self) -> Brain:
        if self._brain is None:
            raise BackendUnavailable(self._fault or "The trial model is still loading.")
        return self._brain


def _load_brain() -> Brain:
    # MiniLM gives each core a batch of its own: see minilm.py. BLAS reads this when numpy comes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imported in the loading thread: numpy and jsonschema take longer than the weights.
    from millrace.gateway.backends.trial.brain import load_brain

    return load_brain()


def _refuse_unless(is_able: bool, model: str, ability: str) -> None:
    if not is_able:
        raise RequestRefused(f'"{model}" does not support {ability}.')
