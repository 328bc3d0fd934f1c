"""What is special about llama.cpp: its listener, its context, files it cannot load."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import pytest

from millrace.errors import BackendUnavailable, RequestRefused
from millrace.gateway.backends.base import Ask, Message, Sampling
from millrace.gateway.backends.llamacpp import LlamaCppBackend
from tests.gateway.tiny_gguf import write_tiny_gguf


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LlamaCppBackend]:
    """The tiny model, loaded."""
    made = LlamaCppBackend(str(write_tiny_gguf(tmp_path / "tiny.gguf")), threads=1, context=1024)
    await made.start()
    await made.loaded()
    yield made
    await made.close()


async def answer(backend: LlamaCppBackend, ask: Ask) -> tuple[str, int]:
    """The text of an answer, and the tokens of its prompt."""
    async with aclosing(backend.answer(ask)) as pieces:
        found = [piece async for piece in pieces]
    assert found[-1].done
    return "".join(piece.text for piece in found), found[-1].done.prompt_tokens


def asking(prompt: str = "hello", *, seed: int | None = None, num_ctx: int | None = None) -> Ask:
    """A chat with the tiny model."""
    given = Sampling(num_predict=8, seed=seed, num_ctx=num_ctx)
    return Ask("chat", "tiny", (Message("user", prompt),), given)


async def test_its_own_listener_is_closed_to_others(backend: LlamaCppBackend) -> None:
    address = backend._server.listening_address
    assert address.startswith("http://127.0.0.1:")
    async with aiohttp.ClientSession(address) as stranger:
        for path in ("/v1/models", "/props", "/slots", "/metrics"):
            async with stranger.get(path) as response:
                assert response.status in (401, 404), path
        async with stranger.post("/v1/chat/completions", json={"messages": []}) as response:
            assert response.status == 401


async def test_the_same_seed_says_the_same(backend: LlamaCppBackend) -> None:
    first = await answer(backend, asking(seed=7))
    assert first == await answer(backend, asking(seed=7))
    assert first != await answer(backend, asking(seed=8))


async def test_num_ctx_bounds_the_prompt_and_cannot_exceed_what_is_loaded(
    backend: LlamaCppBackend,
) -> None:
    _, tokens = await answer(backend, asking("word " * 20))
    assert (await answer(backend, asking("word " * 20, num_ctx=tokens + 2)))[1] == tokens
    with pytest.raises(RequestRefused, match=f"The prompt has {tokens} tokens; num_ctx is 40"):
        await answer(backend, asking("word " * 20, num_ctx=40))
    with pytest.raises(RequestRefused, match="num_ctx is 1024 at most"):
        await answer(backend, asking(num_ctx=4096))


async def test_format_json_gives_json(backend: LlamaCppBackend) -> None:
    schema = {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 2}
    ask = Ask("chat", "tiny", (Message("user", "x"),), Sampling(num_predict=200, seed=1), schema)
    assert set(json.loads((await answer(backend, ask))[0])) <= {"a", "b"}


async def test_raw_prompts_skip_the_template(backend: LlamaCppBackend) -> None:
    raw = Ask("generate", "tiny", (Message("user", "hello"),), Sampling(num_predict=2), raw=True)
    assert (await answer(backend, raw))[1] < (await answer(backend, asking("hello")))[1]


@pytest.mark.parametrize("content", [None, b"", b"GGUF" + b"\0" * 200])
async def test_a_file_that_cannot_be_loaded_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.gguf"
    if content is not None:
        path.write_bytes(content)
    backend = LlamaCppBackend(str(path), threads=1)
    await backend.start()
    await backend.loaded()
    health = await backend.health()
    assert health.state == "down"
    assert "broken.gguf" in health.message
    assert str(tmp_path) not in health.message
    assert await backend.models() == ()
    with pytest.raises(BackendUnavailable, match="MILLRACE_GGUF"):
        await answer(backend, asking())
    await backend.close()
