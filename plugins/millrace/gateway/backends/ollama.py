"""An Ollama server. What it is asked passes through as it came; how it fails is told apart.

Answers are always fetched as streams: a stall, an error inside HTTP 200 and a stream that
ends without `done` are seen at once (Ollama's docs/api.md and server/routes.go).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Any

from millrace.errors import BadAnswer, MillraceError, ModelError
from millrace.gateway.backends.base import (
    Ask,
    Capability,
    Done,
    EmbedAsk,
    Embedded,
    Health,
    Model,
    Piece,
)
from millrace.gateway.backends.upstream import Upstream

logger = logging.getLogger(__name__)

DEFAULT_HOST = "127.0.0.1:11434"
IDLE_S = 300.0
"""Ollama loads a model before its first token; after that long a silence it is given up."""
LIST_S = 5.0
"""How long its list of models is believed."""
PROBE_S = 1.5
_EMBEDDERS = ("embed", "minilm", "bge-", "-e5", "e5-", "gte-")
_COUNTS = (
    *("model", "created_at", "message", "response", "done", "done_reason", "total_duration"),
    *("load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"),
)


class OllamaBackend:
    """One Ollama server; `is_expected`: its absence is a fault, not just a fact."""

    name = "ollama"
    slots = 4

    def __init__(self, host: str = "", *, idle_s: float = IDLE_S) -> None:
        self._is_expected = bool(host)
        self._url = base_url(host or DEFAULT_HOST)
        self._idle_s = idle_s
        self._upstream: Upstream | None = None
        self._models: Sequence[Model] = ()
        self._fault = ""
        self._listed_at = -LIST_S

    async def start(self) -> None:
        """Open a session; whether the server is there shows with the first question."""
        self._upstream = Upstream("Ollama", self._url, idle_s=self._idle_s)

    async def close(self) -> None:
        """Close the session."""
        if self._upstream:
            await self._upstream.close()

    async def loaded(self) -> None:
        """At once: Ollama loads models by itself."""

    async def health(self) -> Health:
        """ready if it lists its models; else down, or absent where none was named."""
        await self.models()
        if not self._fault:
            return Health("ready")
        return Health("down", self._fault) if self._is_expected else Health("absent")

    async def models(self) -> Sequence[Model]:
        """Its models, at most LIST_S old."""
        if monotonic() - self._listed_at >= LIST_S:
            # The clock is set first: one caller asks, the others use the last list meanwhile.
            self._listed_at = monotonic()
            await self._list()
        return self._models

    async def show(self, model: Model) -> Mapping[str, Any]:
        """Ollama's own page of the model."""
        page: Mapping[str, Any] = await self._server().json(
            "POST", "/api/show", {"model": model.name}
        )
        return page

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """Ollama's answer, piece by piece."""
        body = {**ask.body, "model": ask.model, "stream": True}
        async with aclosing(self._server().lines(f"/api/{ask.kind}", body)) as lines:
            async for raw in lines:
                piece = self._piece(raw)
                yield piece
                if piece.done:
                    return
        raise BadAnswer("Ollama's answer ended before it was done.")

    async def embed(self, ask: EmbedAsk) -> Embedded:
        """Ollama's vectors; BadAnswer if there is not one for each text."""
        body = {**ask.body, "model": ask.model, "input": ask.texts}
        answer = await self._server().json("POST", "/api/embed", body)
        vectors = answer.get("embeddings") if isinstance(answer, dict) else None
        if not isinstance(vectors, list) or len(vectors) != len(ask.texts):
            raise BadAnswer("Ollama did not send one vector for each text.")
        return Embedded(
            vectors,
            answer.get("prompt_eval_count", 0),
            answer.get("total_duration", 0),
            answer.get("load_duration", 0),
        )

    def _server(self) -> Upstream:
        if self._upstream is None:
            raise RuntimeError("the backend was not started")
        return self._upstream

    async def _list(self) -> None:
        try:
            listed = await self._server().json("GET", "/api/tags", within_s=PROBE_S)
            self._models = tuple(_model(entry) for entry in listed["models"])
            self._fault = ""
        except (MillraceError, KeyError, TypeError) as error:
            reason = (
                str(error) if isinstance(error, ModelError) else "Ollama sent no list of models."
            )
            if reason != self._fault and self._is_expected:
                logger.warning("Ollama is not available: %s", reason, extra={"action": "probe"})
            self._models, self._fault = (), reason

    def _piece(self, raw: bytes) -> Piece:
        line = self._server().decoded(raw)
        if not isinstance(line, dict):
            raise BadAnswer("Ollama sent a line that is no object.")
        if line.get("error"):
            raise self._server().failure(500, str(line["error"]))
        message = line.get("message") or {}
        extra = {k: v for k, v in message.items() if k not in ("role", "content")}
        extra |= {k: v for k, v in line.items() if k not in _COUNTS}
        text = message.get("content") or line.get("response") or ""
        return Piece(text, extra, _done(line) if line.get("done") else None)


def base_url(host: str) -> str:
    """OLLAMA_HOST as a URL: a scheme, a port and a reachable address where they are missing."""
    scheme, _, rest = host.rpartition("://")
    address = rest.rstrip("/").replace("0.0.0.0", "127.0.0.1")
    has_port = ":" in address.rpartition("]")[2]
    port = "" if has_port or scheme else ":11434"
    return f"{scheme or 'http'}://{address}{port}"


def _done(line: Mapping[str, Any]) -> Done:
    return Done(
        reason=line.get("done_reason") or "stop",
        prompt_tokens=line.get("prompt_eval_count") or 0,
        answer_tokens=line.get("eval_count") or 0,
        total_ns=line.get("total_duration") or 0,
        load_ns=line.get("load_duration") or 0,
        prompt_ns=line.get("prompt_eval_duration") or 0,
        answer_ns=line.get("eval_duration") or 0,
    )


def _model(entry: Mapping[str, Any]) -> Model:
    details = entry.get("details") or {}
    return Model(
        name=entry["name"],
        capabilities=_capabilities(entry["name"], details),
        size_bytes=entry.get("size") or 0,
        digest=entry.get("digest") or "",
        modified_at=entry.get("modified_at") or "",
        details=details,
    )


def _capabilities(name: str, details: Mapping[str, Any]) -> frozenset[Capability]:
    """Told by family and name: the list itself does not say what a model is for."""
    family = str(details.get("family") or "")
    is_embedder = "bert" in family or any(part in name.lower() for part in _EMBEDDERS)
    return frozenset({"embedding"} if is_embedder else {"completion"})
