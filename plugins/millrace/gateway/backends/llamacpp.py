"""A GGUF model by llama.cpp, in this process (xllamacpp).

llama.cpp works in its own threads and brings an HTTP listener on a random loopback port with
it. It is asked through that listener, which then streams, queues and cancels; a random key
closes the port to everybody else.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from hashlib import file_digest
from os import cpu_count
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from millrace.errors import (
    BackendUnavailable,
    BadAnswer,
    MillraceError,
    ModelError,
    RequestRefused,
)
from millrace.gateway.backends import llamacpp_wire as wire
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
from millrace.gateway.backends.upstream import Upstream, reason_in

logger = logging.getLogger(__name__)

CONTEXT = 8192
"""Tokens of prompt and answer a slot has room for, or what the model was trained on if less."""
IDLE_S = 600.0
BATCH = 2048
"""Tokens computed at once; a text to embed must fit into one batch."""


class LlamaCppBackend:
    """One GGUF file; embeds too if the model can."""

    name = "llamacpp"
    slots = 2

    def __init__(
        self,
        gguf: str,
        *,
        threads: int | None = None,
        context: int = CONTEXT,
        idle_s: float = IDLE_S,
    ) -> None:
        self._path = Path(gguf)
        self._threads = threads or max(1, cpu_count() or 1)
        self._context = context
        self._idle_s = idle_s
        self._loading: asyncio.Task[None] | None = None
        self._server: Any = None
        self._upstream: Upstream | None = None
        self._model: Model | None = None
        self._fault = ""

    async def start(self) -> None:
        """Begin to load the file."""
        self._loading = asyncio.create_task(self._load())

    async def close(self) -> None:
        """Stop the server and let go of the model."""
        if self._loading:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        if self._upstream:
            await self._upstream.close()
        self._server = self._model = None

    async def loaded(self) -> None:
        """Wait until loading has ended, well or not."""
        if self._loading:
            await asyncio.wait({self._loading})

    async def health(self) -> Health:
        """loading, ready, or down with the reason."""
        if self._fault:
            return Health("down", self._fault)
        return Health("ready" if self._model else "loading")

    async def models(self) -> Sequence[Model]:
        """The file's model, named after the file, as soon as it is loaded."""
        return (self._model,) if self._model else ()

    async def show(self, model: Model) -> Mapping[str, Any]:
        """What is known of the file."""
        return {
            "modelfile": f"# {self._path.name}, by llama.cpp in the gateway's process",
            "parameters": f"num_ctx {self._context}",
            "template": "",
            "details": model.details,
            "model_info": {"general.architecture": "gguf", "gguf.context_length": self._context},
            "capabilities": sorted(model.capabilities),
            "modified_at": model.modified_at,
        }

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """The model's answer; a prompt that is too long is refused, never cut."""
        started = perf_counter_ns()
        self._refuse_what_is_beyond(ask)
        if ask.is_empty:
            yield Piece(done=Done("load"))
            return
        path = "/v1/completions" if ask.raw else "/v1/chat/completions"
        reason, counts = "", dict[str, Any]()
        async with aclosing(
            self._ready().lines(path, wire.body(ask, await self._room(ask)))
        ) as lines:
            async for raw in lines:
                event = self._event(raw)
                choice: Mapping[str, Any] = next(iter(event.get("choices") or ()), {})
                reason = choice.get("finish_reason") or reason
                counts = event.get("timings") or counts
                text = choice.get("text") or (choice.get("delta") or {}).get("content")
                if text:
                    yield Piece(text)
                if event.get("usage"):
                    yield Piece(done=wire.done(reason, event["usage"], counts, started))
                    return
        raise BadAnswer("llama.cpp's answer ended before it was done.")

    async def embed(self, ask: EmbedAsk) -> Embedded:
        """The model's vectors, normalised; RequestRefused if it makes none or a text is too long."""
        started = perf_counter_ns()
        if not self._model or "embedding" not in self._model.capabilities:
            raise RequestRefused(f'"{ask.model}" does not support embeddings.')
        if not ask.texts:
            return Embedded([])
        answer = await self._ready().json("POST", "/v1/embeddings", {"input": ask.texts})
        vectors = [entry["embedding"] for entry in answer["data"]]
        if ask.dimensions is not None and ask.dimensions < len(vectors[0]):
            raise RequestRefused("llama.cpp's vectors cannot be shortened: leave out dimensions.")
        return Embedded(vectors, answer["usage"]["prompt_tokens"], perf_counter_ns() - started)

    async def _load(self) -> None:
        try:
            key = secrets.token_urlsafe(24)
            self._server, digest = await asyncio.to_thread(self._open, key)
            headers = {"Authorization": f"Bearer {key}"}
            address = self._server.listening_address
            # Its listener drops connections that rest, sometimes just as one is used again.
            self._upstream = Upstream(
                "llama.cpp", address, idle_s=self._idle_s, headers=headers, keeps_alive=False
            )
            props = await self._upstream.json("GET", "/props")
            self._context = props["default_generation_settings"]["n_ctx"]
            self._model = self._card(digest, await self._capabilities())
        except (MillraceError, OSError, RuntimeError, KeyError) as error:
            self._fault = f"{self._path.name} cannot be loaded; see MILLRACE_GGUF."
            logger.error(
                "The model file cannot be loaded: %s",
                error,
                extra={"action": "load", "gguf": str(self._path)},
            )

    def _open(self, key: str) -> tuple[Any, str]:
        """The server over the file, and the file's digest. Blocks for as long as loading takes."""
        # Imported here: the extension is 100 MB, and most gateways have no file to load.
        import xllamacpp

        with self._path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        params = xllamacpp.CommonParams()
        params.model.path = str(self._path)
        params.n_ctx = self._context * self.slots
        params.n_parallel = self.slots
        params.n_batch = params.n_ubatch = min(self._context, BATCH)
        params.cpuparams.n_threads = self._threads
        params.embedding = True  # it still generates, if the model can
        params.api_keys = [key]
        params.ui = params.endpoint_slots = False
        params.verbosity = -1  # its log would quote prompts
        return xllamacpp.Server(params), digest

    async def _capabilities(self) -> frozenset[Capability]:
        """What the model can do, by trying: a file's header is no reliable witness."""
        tries: Mapping[Capability, tuple[str, Mapping[str, Any]]] = {
            "completion": ("/v1/completions", {"prompt": "a", "max_tokens": 1}),
            "embedding": ("/v1/embeddings", {"input": "a"}),
        }
        return frozenset(
            [able for able, (path, body) in tries.items() if await self._can(path, body)]
        )

    async def _can(self, path: str, body: Mapping[str, Any]) -> bool:
        try:
            await self._ready().json("POST", path, body)
        except ModelError:
            return False
        return True

    def _card(self, digest: str, capabilities: frozenset[Capability]) -> Model:
        stat = self._path.stat()
        return Model(
            name=self._path.stem,
            capabilities=capabilities,
            size_bytes=stat.st_size,
            digest=digest,
            modified_at=datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(),
            details={"format": "gguf", "family": "", "families": [], "parameter_size": ""},
        )

    def _ready(self) -> Upstream:
        if self._upstream is None:
            raise BackendUnavailable(self._fault or "The model file is still being loaded.")
        return self._upstream

    async def _room(self, ask: Ask) -> int:
        """How many tokens may be made: num_predict, and what num_ctx leaves beside the prompt."""
        limit, context = ask.sampling.num_predict, ask.sampling.num_ctx
        wanted = limit if limit is not None and limit >= 0 else -1
        if context is None or context >= self._context:
            return wanted
        room = context - await self._prompt_tokens(ask)
        if room < 1:
            raise RequestRefused(f"The prompt has {context - room} tokens; num_ctx is {context}.")
        return room if wanted < 0 else min(wanted, room)

    async def _prompt_tokens(self, ask: Ask) -> int:
        text = wire.prompt(ask).get("prompt")
        if text is None:
            text = (await self._ready().json("POST", "/apply-template", wire.prompt(ask)))["prompt"]
        asked = {"content": text, "add_special": True, "parse_special": True}
        return len((await self._ready().json("POST", "/tokenize", asked))["tokens"])

    def _refuse_what_is_beyond(self, ask: Ask) -> None:
        if ask.needs:
            raise RequestRefused(
                f'"{ask.model}" does not support {", ".join(sorted(ask.needs))} here.'
            )
        if self._model and "completion" not in self._model.capabilities:
            raise RequestRefused(f'"{ask.model}" does not support text generation.')
        if (ask.sampling.num_ctx or 0) > self._context:
            raise RequestRefused(
                f"num_ctx is {self._context} at most here: the model is loaded so."
            )

    def _event(self, raw: bytes) -> Mapping[str, Any]:
        event = self._ready().decoded(raw.removeprefix(b"data:").strip())
        if not isinstance(event, dict) or "error" in event:
            raise self._ready().failure(500, reason_in(raw.removeprefix(b"data:").strip()))
        return event
