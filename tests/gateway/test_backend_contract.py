"""What every backend keeps to: the trial model, llama.cpp with a real file, an Ollama server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from millrace.errors import RequestRefused
from millrace.gateway.backends.base import (
    Ask,
    Backend,
    Capability,
    EmbedAsk,
    Message,
    Model,
    Piece,
    Sampling,
)
from millrace.gateway.backends.llamacpp import LlamaCppBackend
from millrace.gateway.backends.ollama import OllamaBackend
from millrace.gateway.backends.trial.backend import TrialBackend
from tests.fake_ollama import FakeOllama
from tests.gateway.tiny_gguf import write_tiny_gguf

PROMPT = (
    "Context:\nThe mill was built in 1889. Its wheel turns six times a minute.\n\n"
    "Question: When was the mill built?"
)
SCHEMA = {
    "type": "object",
    "properties": {"size": {"enum": ["small", "large"]}, "is_old": {"type": "boolean"}},
    "required": ["size", "is_old"],
    "additionalProperties": False,
}


@pytest.fixture(params=["trial", "llamacpp", "ollama"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Each backend in turn, started and loaded."""
    fake = FakeOllama()
    await fake.start()
    makers: dict[str, Callable[[], Backend]] = {
        "trial": TrialBackend,
        "llamacpp": lambda: LlamaCppBackend(
            str(write_tiny_gguf(tmp_path / "tiny.gguf")), threads=1, context=1024
        ),
        "ollama": lambda: OllamaBackend(fake.url),
    }
    made = makers[request.param]()
    await made.start()
    await made.loaded()
    yield made
    await made.close()
    await fake.close()


async def model_for(backend: Backend, capability: Capability) -> Model | None:
    """The backend's model with that capability."""
    return next((m for m in await backend.models() if capability in m.capabilities), None)


async def asking(backend: Backend, prompt: str = PROMPT, **fields: Any) -> Ask:
    """A chat with the backend's own model."""
    model = await model_for(backend, "completion")
    assert model
    sampling: Sampling = fields.pop("sampling", Sampling())
    options = {
        name: value for name in ("num_predict", "num_ctx") if (value := getattr(sampling, name))
    }
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "options": options,
        "format": fields.get("format"),
        "truncate": False,
    }
    return Ask("chat", model.name, (Message("user", prompt),), sampling, body=body, **fields)


async def answered(backend: Backend, ask: Ask) -> list[Piece]:
    """The whole answer."""
    async with aclosing(backend.answer(ask)) as pieces:
        return [piece async for piece in pieces]


def text_of(pieces: list[Piece]) -> str:
    """The text of an answer."""
    return "".join(piece.text for piece in pieces)


async def test_says_what_it_serves(backend: Backend) -> None:
    assert (await backend.health()).state == "ready"
    models = await backend.models()
    assert models
    for model in models:
        page = await backend.show(model)
        assert model.digest
        assert page["capabilities"] == sorted(model.capabilities)


async def test_answers_in_pieces_and_ends_with_the_counts(backend: Backend) -> None:
    ask = await asking(backend, sampling=Sampling(num_predict=40, seed=1))
    pieces = await answered(backend, ask)
    assert text_of(pieces)
    assert [piece.done is not None for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    done = pieces[-1].done
    assert done
    assert done.reason in ("stop", "length")
    assert done.prompt_tokens > 0
    assert 0 < done.answer_tokens <= 40


async def test_an_answer_cut_by_num_predict_says_length(backend: Backend) -> None:
    done = (await answered(backend, await asking(backend, sampling=Sampling(num_predict=2))))[
        -1
    ].done
    assert done
    assert (done.reason, done.answer_tokens) == ("length", 2)


async def test_a_schema_is_kept(backend: Backend) -> None:
    ask = await asking(backend, format=SCHEMA, sampling=Sampling(num_predict=400, seed=3))
    pieces = await answered(backend, ask)
    jsonschema.validate(json.loads(text_of(pieces)), SCHEMA)
    assert pieces[-1].done
    assert pieces[-1].done.reason == "stop"


async def test_a_long_prompt_is_read_whole_or_refused(backend: Backend) -> None:
    ask = await asking(backend, "word " * 3000, sampling=Sampling(num_predict=3))
    try:
        pieces = await answered(backend, ask)
    except RequestRefused:
        return
    assert pieces[-1].done
    assert pieces[-1].done.prompt_tokens >= 3000


async def test_an_answer_left_early_frees_the_backend(backend: Backend) -> None:
    ask = await asking(backend, sampling=Sampling(num_predict=200))
    for _ in range(backend.slots + 1):
        async with aclosing(backend.answer(ask)) as pieces:
            assert await anext(pieces)
    assert text_of(await answered(backend, await asking(backend, sampling=Sampling(num_predict=5))))


async def test_serves_as_many_at_once_as_it_has_slots(backend: Backend) -> None:
    ask = await asking(backend, sampling=Sampling(num_predict=20))
    answers = await asyncio.gather(*(answered(backend, ask) for _ in range(backend.slots)))
    assert all(pieces[-1].done for pieces in answers)


async def test_embeds_each_text_or_says_it_cannot(backend: Backend) -> None:
    model = await model_for(backend, "embedding")
    name = model.name if model else (await backend.models())[0].name
    body = {"input": ["one", "two", "three"]}
    ask = EmbedAsk(name, ("one", "two", "three"), body=body)
    if model is None:
        with pytest.raises(RequestRefused, match="does not support embeddings"):
            await backend.embed(ask)
        return
    answer = await backend.embed(ask)
    assert len(answer.vectors) == 3
    assert answer.prompt_tokens > 0
    for vector in answer.vectors:
        assert sum(x * x for x in vector) == pytest.approx(1, abs=1e-4)


async def test_no_texts_have_no_vectors(backend: Backend) -> None:
    if model := await model_for(backend, "embedding"):
        answer = await backend.embed(EmbedAsk(model.name, (), body={"input": []}))
        assert list(answer.vectors) == []


async def test_what_it_cannot_do_is_refused_by_name(backend: Backend) -> None:
    ask = await asking(backend, needs=frozenset({"images"}))
    if backend.name == "ollama":  # the server itself knows what its models can do
        assert await answered(backend, ask)
        return
    with pytest.raises(RequestRefused, match="images"):
        await answered(backend, ask)
