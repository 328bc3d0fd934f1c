"""A stand-in for an Ollama server: the routes the gateway uses, and faults on demand.

It answers by saying the last message's words back. It is held to the same contract suite as
the real backends. `python -m tests.fake_ollama PORT` runs one by hand.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

Fault = Literal[
    "none",
    "busy",
    "stall",
    "error mid-stream",
    "no done",
    "cut JSON",
    "reset",
    "not JSON",
    "missing",
    "internal",
    "wrong count",
]
MODEL = "fake:latest"
EMBEDDER = "fake-embed:latest"
CONTEXT = 2048


@dataclass
class FakeOllama:
    """The server; set `fault` and the next requests meet it."""

    fault: Fault = "none"
    requests: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """What was asked: path and body."""
    cancelled: int = 0
    """Answers whose client left before they were done."""
    url: str = ""

    async def start(self, port: int = 0) -> None:
        """Listen on the loopback; the address is then in `url`."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/api/tags", self._tags)
        app.router.add_post("/api/show", self._show)
        app.router.add_post("/api/chat", self._answer)
        app.router.add_post("/api/generate", self._answer)
        app.router.add_post("/api/embed", self._embed)
        # handler_cancellation: a client that leaves is noticed, as Ollama notices it.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _tags(self, request: web.Request) -> web.Response:
        details = {"family": "llama", "families": ["llama"], "parameter_size": "1B"}
        listed = [
            {"name": MODEL, "digest": "f" * 64, "size": 1, "details": details},
            {"name": EMBEDDER, "digest": "e" * 64, "size": 1, "details": {"family": "bert"}},
        ]
        return web.json_response({"models": listed})

    async def _show(self, request: web.Request) -> web.Response:
        body = await request.json()
        able = "embedding" if body["model"] == EMBEDDER else "completion"
        return web.json_response({"details": {}, "model_info": {}, "capabilities": [able]})

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append((request.path, body))
        if refused := self._refused(body):
            return refused
        if body["model"] != EMBEDDER:
            return _error(400, "this model does not support embeddings")
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if body.get("truncate") is False and any(len(text.split()) > CONTEXT for text in texts):
            return _error(400, "input length exceeds maximum context length")
        vectors = [[0.6, 0.8] for _ in texts]
        if self.fault == "wrong count":
            vectors.append([1.0, 0.0])
        return web.json_response({"embeddings": vectors, "prompt_eval_count": len(texts)})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append((request.path, body))
        if refused := self._refused(body):
            return refused
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            async for line in self._lines(request.path, body):
                await response.write(line)
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        if self.fault == "reset" and request.transport:
            request.transport.abort()
        return response

    def _refused(self, body: Mapping[str, Any]) -> web.Response | None:
        if self.fault == "busy":
            return _error(503, "server busy, please try again. maximum pending requests exceeded")
        if self.fault == "internal":
            return _error(
                500, "open /usr/share/ollama/models/blobs/sha256-1: no such file at 10.0.0.7:1"
            )
        if self.fault == "missing" or body["model"] not in (MODEL, EMBEDDER):
            return _error(404, f"model '{body['model']}' not found")
        texts = [m["content"] for m in body.get("messages", ())] or [body.get("prompt") or ""]
        context = (body.get("options") or {}).get("num_ctx", CONTEXT)
        if body.get("truncate") is False and sum(len(t.split()) for t in texts) > context:
            return _error(400, "the input length exceeds the context length")
        return None

    async def _lines(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
        words, reason = _words(body)
        for place, word in enumerate(words):
            if place == 1 and self.fault != "none":
                async for line in self._fault_line():
                    yield line
                return
            yield _line({**_text(path, word), "done": False})
            await asyncio.sleep(0)
        counts = {"prompt_eval_count": 3, "eval_count": len(words), "total_duration": 1}
        yield _line({**_text(path, ""), "done": True, "done_reason": reason, **counts})

    async def _fault_line(self) -> AsyncIterator[bytes]:
        if self.fault == "stall":
            await asyncio.Event().wait()
        lines = {
            "error mid-stream": b'{"error": "an error was encountered while running the model"}\n',
            "cut JSON": b'{"message": {"role": "assistant", "cont',
            "not JSON": b"<html>gateway timeout</html>\n",
        }
        yield lines.get(self.fault, b"")


def _words(body: Mapping[str, Any]) -> tuple[list[str], str]:
    if isinstance(body.get("format"), dict):
        return [json.dumps(_example(body["format"]))], "stop"
    messages = body.get("messages") or [{"content": body.get("prompt") or ""}]
    words = [f"{word} " for word in str(messages[-1]["content"]).split()]
    limit = (body.get("options") or {}).get("num_predict", len(words))
    return (words[:limit], "length") if limit < len(words) else (words, "stop")


def _example(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    kinds = {"string": "", "integer": 0, "number": 0.0, "boolean": True, "array": []}
    if schema.get("type") == "object":
        return {key: _example(part) for key, part in schema.get("properties", {}).items()}
    return kinds[schema["type"]]


def _text(path: str, text: str) -> dict[str, Any]:
    if path == "/api/generate":
        return {"model": MODEL, "response": text}
    return {"model": MODEL, "message": {"role": "assistant", "content": text}}


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)


async def _run_for_ever(port: int) -> None:
    fake = FakeOllama()
    await fake.start(port)
    print(fake.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run_for_ever(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
