"""An Ollama server that fails: every fault is told apart, none passes for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from millrace.errors import (
    BackendTimeout,
    BackendUnavailable,
    BadAnswer,
    ModelError,
    ModelMissing,
)
from millrace.gateway.backends.base import Ask, EmbedAsk, Message
from millrace.gateway.backends.ollama import OllamaBackend, base_url
from tests.fake_ollama import EMBEDDER, MODEL, FakeOllama, Fault

ASK = Ask(
    "chat",
    MODEL,
    (Message("user", "one two three"),),
    body={"messages": [{"role": "user", "content": "one two three"}]},
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    """A server to break."""
    server = FakeOllama()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def backend(fake: FakeOllama) -> AsyncIterator[OllamaBackend]:
    """A backend over it that gives up a silence soon."""
    made = OllamaBackend(fake.url, idle_s=0.3)
    await made.start()
    yield made
    await made.close()


async def answer(backend: OllamaBackend, ask: Ask = ASK) -> str:
    """The text of a whole answer."""
    async with aclosing(backend.answer(ask)) as pieces:
        return "".join([piece.text async for piece in pieces])


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("busy", BackendUnavailable, "server busy"),
        ("stall", BackendTimeout, "stopped answering"),
        ("error mid-stream", BadAnswer, "an error was encountered"),
        ("no done", BadAnswer, "before it was done"),
        ("cut JSON", BadAnswer, "not JSON"),
        ("not JSON", BadAnswer, "not JSON"),
        ("reset", BadAnswer, "broke off"),
        ("missing", ModelMissing, "not found"),
        ("internal", BadAnswer, "no such file"),
    ],
)
async def test_a_fault_is_an_error_of_its_kind(
    backend: OllamaBackend, fake: FakeOllama, fault: Fault, error: type[ModelError], says: str
) -> None:
    assert await answer(backend) == "one two three "
    fake.fault = fault
    with pytest.raises(error, match=says) as raised:
        await answer(backend)
    assert type(raised.value) is error
    fake.fault = "none"
    assert await answer(backend) == "one two three "


async def test_an_upstream_error_is_told_without_paths_and_addresses(
    backend: OllamaBackend, fake: FakeOllama
) -> None:
    fake.fault = "internal"
    with pytest.raises(BadAnswer) as raised:
        await answer(backend)
    assert "/usr" not in str(raised.value)
    assert "10.0.0.7" not in str(raised.value)


async def test_every_text_gets_its_own_vector(backend: OllamaBackend, fake: FakeOllama) -> None:
    fake.fault = "wrong count"
    with pytest.raises(BadAnswer, match="one vector for each text"):
        await backend.embed(EmbedAsk(EMBEDDER, ("one", "two")))


async def test_a_server_that_is_away_is_unavailable() -> None:
    backend = OllamaBackend("127.0.0.1:9")
    await backend.start()
    assert (await backend.health()).state == "down"
    assert await backend.models() == ()
    with pytest.raises(BackendUnavailable, match="does not answer"):
        await answer(backend)
    await backend.close()


async def test_leaving_an_answer_cancels_it_at_the_server(
    backend: OllamaBackend, fake: FakeOllama
) -> None:
    fake.fault = "stall"
    async with aclosing(backend.answer(ASK)) as pieces:
        await anext(pieces)
    async with asyncio.timeout(10):
        while not fake.cancelled:
            await asyncio.sleep(0.01)


async def test_what_is_asked_passes_through_as_it_came(
    backend: OllamaBackend, fake: FakeOllama
) -> None:
    extras = {"keep_alive": "5m", "think": True, "truncate": False, "tools": [{"type": "function"}]}
    options = {"num_ctx": 64, "mirostat": 2}
    ask = Ask("chat", MODEL, ASK.messages, body={**ASK.body, **extras, "options": options})
    await answer(backend, ask)
    path, body = fake.requests[-1]
    assert path == "/api/chat"
    assert body == {**ask.body, "model": MODEL, "stream": True}


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("http://models.lan:1/", "http://models.lan:1"),
        ("https://models.lan", "https://models.lan"),
        ("[::1]", "http://[::1]:11434"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(host: str, url: str) -> None:
    assert base_url(host) == url
