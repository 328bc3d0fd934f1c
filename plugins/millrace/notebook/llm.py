"""`run.llm`: chat, map and embed, through the gateway only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from millrace.errors import BadAnswer, ContractError, ModelMissing
from millrace.notebook.answers import AnswerShape, Schema, shape_of
from millrace.notebook.asking import NUM_CTX, Ask, Reply, ask_row
from millrace.notebook.background import Background, run_async
from millrace.notebook.batch import run_batch
from millrace.notebook.client import CallFailed, GatewayAddress, patiently
from millrace.notebook.progress import Counts, display_for
from millrace.notebook.prompts import Message, Prompt, as_messages, check_prompt, rendered
from millrace.notebook.record import RunRecord
from millrace.notebook.results import Estimate, MapResult, estimate
from millrace.vectors.base import Vectors

SAMPLE_ROWS = 10
EMBED_BATCH = 64
EMBED_REQUESTS = 4


class Llm:
    """The models of one run. Calls wait for a slot behind the gateway's queue."""

    def __init__(
        self,
        gateway: GatewayAddress,
        record: RunRecord,
        *,
        gen_model: str = "",
        embed_model: str = "",
        interactive: bool = False,
        patience_s: float = 60,
    ) -> None:
        self._gateway = gateway
        self._record = record
        self._gen_model = gen_model
        self._embed_model = embed_model
        self._interactive = interactive
        self._patience_s = patience_s

    @property
    def embed_model(self) -> str:
        """The run's embedding model, else the gateway's default one; ModelMissing if it has none."""
        if not self._embed_model:
            self._embed_model = str(self._health().get("embed_model") or "")
        if not self._embed_model:
            raise ModelMissing("The gateway has no embedding model.", cure="See `millrace status`.")
        return self._embed_model

    def chat(
        self,
        prompt: str | Sequence[Message],
        *,
        schema: Schema = None,
        system: str | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        num_ctx: int = NUM_CTX,
    ) -> Any:
        """One answer: a str, or an instance of the pydantic model, or the JSON value.

        Raises BadAnswer when it is cut or does not fit the schema after two more tries, and
        ModelMissing or BackendUnavailable.
        """
        ask = self._ask(shape_of(schema), model, options, num_ctx)

        async def call() -> Reply:
            async with self._gateway.connect() as client:
                return await ask_row(client, ask, as_messages(prompt, system))

        try:
            reply = run_async(call)
        except CallFailed as failure:
            raise failure.error from failure
        self._record.add_usage(reply.tokens_in, reply.tokens_out, reply.seconds)
        if not reply.ok:
            raise BadAnswer(f"{reply.reason} The raw answer: {reply.text[:300]!r}")
        return ask.shape.read(reply.text)

    @overload
    def map(
        self,
        frame: pd.DataFrame,
        *,
        prompt: Prompt,
        schema: Schema = ...,
        key: str | None = ...,
        system: str | None = ...,
        model: str | None = ...,
        options: Mapping[str, Any] | None = ...,
        concurrency: int | None = ...,
        num_ctx: int = ...,
        estimate: Literal[False] = ...,
    ) -> MapResult: ...

    @overload
    def map(
        self,
        frame: pd.DataFrame,
        *,
        prompt: Prompt,
        schema: Schema = ...,
        key: str | None = ...,
        system: str | None = ...,
        model: str | None = ...,
        options: Mapping[str, Any] | None = ...,
        concurrency: int | None = ...,
        num_ctx: int = ...,
        estimate: Literal[True],
    ) -> Estimate: ...

    def map(
        self,
        frame: pd.DataFrame,
        *,
        prompt: Prompt,
        schema: Schema = None,
        key: str | None = None,
        system: str | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
        num_ctx: int = NUM_CTX,
        estimate: bool = False,
    ) -> MapResult | Estimate:
        """Ask the model about every row; rows in, rows out, order kept.

        `prompt` is a str.format template over the columns, or a function of a row (a dict) that
        gives a str or messages. `schema` is a pydantic model or a JSON schema. `key` names the
        column that tells rows apart. A row whose answer does not fit is quarantined in
        `.failed`; ModelError ends the batch when no row can succeed. Ctrl-C in an interactive
        run gives back what is done. `estimate` asks a sample and gives an Estimate.
        """
        check_prompt(frame, prompt)
        _check_key(frame, key)
        ask = self._ask(shape_of(schema), model, options, num_ctx)
        if estimate:
            return self._estimated(frame, prompt, system, key, ask, concurrency)
        return self._mapped(frame, prompt, system, key, ask, concurrency)

    def embed(self, texts: Iterable[str], *, model: str | None = None) -> Vectors:
        """The texts' vectors: (n, dim) float32, in their order. Over-long texts are refused."""
        listed = list(texts)
        name = model or self.embed_model
        if not listed:
            return np.empty((0, 0), dtype=np.float32)
        try:
            replies = run_async(lambda: self._embedded(listed, name))
        except CallFailed as failure:
            raise failure.error from failure
        tokens = sum(int(reply.get("prompt_eval_count") or 0) for reply, _ in replies)
        self._record.add_usage(tokens, 0, sum(seconds for _, seconds in replies))
        vectors = np.asarray([v for r, _ in replies for v in r["embeddings"]], dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(listed):
            raise BadAnswer(f"{len(listed)} texts came back as vectors of shape {vectors.shape}.")
        return vectors

    def _ask(
        self,
        shape: AnswerShape,
        model: str | None,
        options: Mapping[str, Any] | None,
        num_ctx: int,
    ) -> Ask:
        return Ask(model or self._gen_model, shape, options or {}, num_ctx, self._patience_s)

    def _mapped(
        self,
        frame: pd.DataFrame,
        prompt: Prompt,
        system: str | None,
        key: str | None,
        ask: Ask,
        concurrency: int | None,
    ) -> MapResult:
        counts, replies = Counts(total=len(frame)), dict[int, Reply]()

        def commit(number: int, reply: Reply) -> None:
            replies[number] = reply
            counts.add(reply)

        width = max(1, min(concurrency or self._slots(ask.model), len(frame)))
        questions = rendered(frame, prompt, system)
        work = Background(lambda: self._batch(ask, questions, commit, width))
        interrupted = self._watch(work, counts)
        return MapResult(
            frame=frame,
            key=key,
            shape=ask.shape,
            replies=replies,
            seconds=time.monotonic() - counts.started,
            interrupted=interrupted,
            model=next((r.model for r in replies.values() if r.model), ask.model),
        )

    async def _batch(self, ask: Ask, questions: Any, commit: Any, width: int) -> None:
        async with self._gateway.connect() as client:
            await run_batch(client, ask, questions, commit, concurrency=width)

    def _watch(self, work: Background[None], counts: Counts) -> bool:
        """Show and record progress until the end; True when a person interrupted it."""
        display = display_for(counts.total, interactive=self._interactive)

        def tick() -> None:
            display.update(counts)
            self._record.progress(counts)

        try:
            work.wait(tick)
        except KeyboardInterrupt:
            # Under Airflow an interrupt is the end of the run, not a wish to go on with less.
            if not self._interactive:
                raise
            return True
        finally:
            display.close(counts)
            self._record.add_usage(counts.tokens_in, counts.tokens_out, counts.llm_seconds)
        return False

    def _estimated(
        self,
        frame: pd.DataFrame,
        prompt: Prompt,
        system: str | None,
        key: str | None,
        ask: Ask,
        concurrency: int | None,
    ) -> Estimate:
        rows = min(SAMPLE_ROWS, len(frame))
        sample = frame.sample(rows, random_state=0).sort_index()
        result = estimate(self._mapped(sample, prompt, system, key, ask, concurrency), len(frame))
        print(result)
        return result

    async def _embedded(
        self, texts: list[str], model: str
    ) -> list[tuple[Mapping[str, Any], float]]:
        room = asyncio.Semaphore(EMBED_REQUESTS)

        async def one(part: list[str]) -> tuple[Mapping[str, Any], float]:
            body = {"model": model, "input": part, "truncate": False}
            async with room:
                answer: tuple[Mapping[str, Any], float] = await patiently(
                    lambda: client.embed(body), patience_s=self._patience_s
                )
            return answer

        async with self._gateway.connect() as client:
            parts = [texts[i : i + EMBED_BATCH] for i in range(0, len(texts), EMBED_BATCH)]
            return await asyncio.gather(*(one(part) for part in parts))

    def _health(self) -> Mapping[str, Any]:
        async def call() -> Mapping[str, Any]:
            async with self._gateway.connect() as client:
                health: Mapping[str, Any] = await patiently(
                    client.health, patience_s=self._patience_s
                )
                return health

        try:
            return run_async(call)
        except CallFailed as failure:
            raise failure.error from failure

    def _slots(self, model: str) -> int:
        """How many requests the model's backend works on at once, as /health says."""
        health = self._health()
        for backend in health.get("backends") or ():
            if model and model in backend.get("models", ()):
                return int(backend.get("slots") or 1)
        return int(health.get("slots") or 1)


def _check_key(frame: pd.DataFrame, key: str | None) -> None:
    if key is None:
        return
    if key not in frame.columns:
        raise ContractError(
            f"key={key!r} is no column of the frame ({', '.join(map(str, frame.columns))})."
        )
    doubled = frame[key][frame[key].duplicated()]
    if len(doubled):
        raise ContractError(
            f"key={key!r} does not tell the rows apart: {doubled.iloc[0]} stands more than once."
        )
