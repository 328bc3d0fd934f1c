"""A gateway for tests: the Ollama API in this process, with whatever faults a test asks for."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

DIM = 32
Answer = Callable[[Mapping[str, Any]], Any]
"""Takes a chat request's body. Gives the answer's text, a whole reply, or a web.Response."""


@dataclass
class FakeGateway:
    """What it answers, and what it was asked."""

    answer: Answer = lambda body: "fine"
    slots: int = 4
    url: str = ""
    chats: list[Mapping[str, Any]] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    most_at_once: int = 0
    hold: threading.Event = field(default_factory=threading.Event)
    """Chats wait until it is set; it is, unless a test clears it."""
    asked: threading.Event = field(default_factory=threading.Event)
    _at_once: int = 0

    async def health(self, request: web.Request) -> web.Response:
        models = {"model": "fake-model", "embed_model": "fake-embed"}
        return web.json_response({"status": "ok", **models, "slots": self.slots})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.keys.add(request.headers.get("Authorization"))
        body = await request.json()
        self.chats.append(body)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.asked.set()
        try:
            while not self.hold.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.005)
            answer = self.answer(body)
        finally:
            self._at_once -= 1
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.json_response(answer if isinstance(answer, dict) else reply(answer))

    async def embed(self, request: web.Request) -> web.Response:
        texts = (await request.json())["input"]
        self.embedded += texts
        vectors = [vector_of(text) for text in texts]
        return web.json_response(
            {"model": "fake-embed", "embeddings": vectors, "prompt_eval_count": len(texts)}
        )


def reply(text: str, **changes: Any) -> dict[str, Any]:
    """A complete chat reply in the Ollama API's shape."""
    message = {"role": "assistant", "content": text}
    counts = {"prompt_eval_count": 10, "eval_count": 5}
    whole = {"model": "fake-model", "message": message, "done": True, "done_reason": "stop"}
    return {**whole, **counts, **changes}


def refusal(status: int, message: str = "no", **headers: str) -> web.Response:
    """An error in the Ollama API's shape."""
    return web.json_response({"error": message}, status=status, headers=headers)


def asked(body: Mapping[str, Any]) -> str:
    """The first thing the user said."""
    return next(str(m["content"]) for m in body["messages"] if m["role"] == "user")


def vector_of(text: str) -> list[float]:
    """A bag of words as a unit vector: texts that share words are near each other."""
    vector = [1e-3] * DIM
    for word in re.findall(r"\w+", text.lower()):
        vector[hashlib.sha256(word.encode()).digest()[0] % DIM] += 1
    length = sum(x * x for x in vector) ** 0.5
    return [x / length for x in vector]


def as_json(**fields: Any) -> str:
    """A model's answer as JSON text."""
    return json.dumps(fields)


@contextmanager
def serving(gateway: FakeGateway) -> Iterator[FakeGateway]:
    """The gateway on a free port of 127.0.0.1, in a thread of its own."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/health", gateway.health)
        app.router.add_post("/api/chat", gateway.chat)
        app.router.add_post("/api/embed", gateway.embed)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    gateway.hold.set()
    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield gateway
    finally:
        gateway.hold.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
