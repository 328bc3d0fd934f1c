"""The Ollama API: what an unmodified `ollama` client speaks.

Models are managed where they live, not through the gateway: those routes are refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from millrace import __version__
from millrace.gateway.backends.base import Ask, Piece
from millrace.gateway.doors import ollama_wire as wire
from millrace.gateway.http import NDJSON, Exchange, HttpRefusal
from millrace.gateway.routing import Router

MANAGING = ("/api/create", "/api/pull", "/api/push", "/api/delete", "/api/copy", "/api/blobs/")


async def chat(exchange: Exchange, router: Router) -> None:
    """POST /api/chat."""
    body, given = wire.read(exchange.body, wire.ChatBody)
    await _answer(exchange, router, wire.chat_ask(body, given), body.stream is not False)


async def generate(exchange: Exchange, router: Router) -> None:
    """POST /api/generate."""
    body, given = wire.read(exchange.body, wire.GenerateBody)
    await _answer(exchange, router, wire.generate_ask(body, given), body.stream is not False)


async def embed(exchange: Exchange, router: Router) -> None:
    """POST /api/embed."""
    body, given = wire.read(exchange.body, wire.EmbedBody)
    ask = wire.embed_ask(body, given)
    route = await router.find(ask.model, "embedding")
    async with router.slot(route.backend):
        answer = await route.backend.embed(replace(ask, model=route.model.name))
    await exchange.reply(200, wire.embed_answer(ask.model or route.model.name, answer))


async def tags(exchange: Exchange, router: Router) -> None:
    """GET /api/tags."""
    await exchange.reply(200, {"models": [wire.tag(r.model) for r in await router.routes()]})


async def show(exchange: Exchange, router: Router) -> None:
    """POST /api/show."""
    body, _ = wire.read(exchange.body, wire.ShowBody)
    route = await router.find(body.model or body.name, "completion")
    await exchange.reply(200, await route.backend.show(route.model))


async def version(exchange: Exchange, router: Router) -> None:
    """GET /api/version: Millrace's own, not a version of Ollama."""
    await exchange.reply(200, {"version": __version__})


async def root(exchange: Exchange, router: Router) -> None:
    """GET /: what Ollama clients ask to see whether anybody is there."""
    await exchange.reply(200, "Millrace gateway is running")


ROUTES: Mapping[tuple[str, str], Callable[[Exchange, Router], Awaitable[None]]] = {
    ("POST", "/api/chat"): chat,
    ("POST", "/api/generate"): generate,
    ("POST", "/api/embed"): embed,
    ("GET", "/api/tags"): tags,
    ("POST", "/api/show"): show,
    ("GET", "/api/version"): version,
    ("GET", "/"): root,
}


def refusal(method: str, path: str, known: Mapping[tuple[str, str], Any]) -> HttpRefusal:
    """Why a route is not served."""
    allowed = sorted({m for m, p in known if p == path})
    if allowed:
        allow = ", ".join(allowed)
        return HttpRefusal(
            405, f"{path} answers {allow} only.", headers=((b"allow", allow.encode()),)
        )
    if path.startswith(MANAGING):
        return HttpRefusal(
            403, f"{path}: models are not managed through the gateway; do it at the model server."
        )
    return HttpRefusal(404, "No such route. See docs/reference/gateway.md for those served.")


async def _answer(exchange: Exchange, router: Router, ask: Ask, is_stream: bool) -> None:
    route = await router.find(ask.model, "completion")
    routed = replace(ask, model=route.model.name)
    shown = ask if ask.model else routed
    send = _stream if is_stream else _at_once
    async with router.slot(route.backend), aclosing(route.backend.answer(routed)) as pieces:
        await send(exchange, shown, pieces)


async def _stream(exchange: Exchange, ask: Ask, pieces: AsyncIterator[Piece]) -> None:
    """Line by line; the status waits for the first piece, so that an early error is a status."""
    async for piece in pieces:
        if exchange.status is None:
            await exchange.begin(200, NDJSON)
        await exchange.line(wire.piece_line(ask, piece))
    await exchange.end()


async def _at_once(exchange: Exchange, ask: Ask, pieces: AsyncIterator[Piece]) -> None:
    whole = wire.whole([piece async for piece in pieces])
    await exchange.reply(200, wire.piece_line(ask, whole))
