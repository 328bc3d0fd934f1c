"""Which backend serves a model, and whose turn it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from millrace.errors import BackendUnavailable, ModelError, ModelMissing
from millrace.gateway.backends.base import Backend, Capability, Health, Model
from millrace.settings import Settings


@dataclass(frozen=True, slots=True)
class Route:
    """A model and the backend that serves it."""

    backend: Backend
    model: Model


class Router:
    """The backends in their order of preference; the first that has a model serves it."""

    def __init__(self, settings: Settings, backends: Sequence[Backend]) -> None:
        self.backends = tuple(backends)
        self._default: Mapping[Capability, str] = {
            "completion": settings.model,
            "embedding": settings.embed_model,
        }
        self._slots = {backend.name: asyncio.Semaphore(backend.slots) for backend in backends}

    async def routes(self) -> list[Route]:
        """Every model that can be asked for now; a name stands once, at its first backend."""
        found: dict[str, Route] = {}
        for backend in self.backends:
            for model in await backend.models():
                found.setdefault(_full(model.name), Route(backend, model))
        return list(found.values())

    async def find(self, name: str, capability: Capability) -> Route:
        """The route of a model; an empty name is the default one of that capability.

        Raises ModelMissing, or BackendUnavailable while a backend that may have it is loading.
        """
        routes = await self.routes()
        if wanted := name or self._default[capability]:
            fits = [r for r in routes if _full(r.model.name) == _full(wanted)]
        else:
            fits = [r for r in routes if capability in r.model.capabilities]
        if fits:
            return fits[0]
        await self._refuse_while_loading()
        raise ModelMissing(
            f"model {wanted!r} not found." if wanted else f"no model for {capability}.",
            cure=f"Served here: {', '.join(r.model.name for r in routes) or 'none'}.",
        )

    @asynccontextmanager
    async def slot(self, backend: Backend) -> AsyncIterator[None]:
        """Wait for a free slot, first come first served, and hold it."""
        async with self._slots[backend.name]:
            yield

    def busy(self, backend: Backend) -> bool:
        """Whether every slot of the backend is taken."""
        return self._slots[backend.name].locked()

    async def health(self) -> dict[str, Any]:
        """The body of GET /health."""
        states = [(backend, await backend.health()) for backend in self.backends]
        routes = await self.routes()
        model = await self._default_route("completion")
        embed = await self._default_route("embedding")
        is_well = model and embed and all(_is_well(state) for _, state in states)
        return {
            "status": "ok" if is_well else "degraded",
            "model": model.model.name if model else None,
            "embed_model": embed.model.name if embed else None,
            "ollama_connected": any(b.name == "ollama" and s.state == "ready" for b, s in states),
            "slots": model.backend.slots if model else 0,
            "models": [route.model.name for route in routes],
            "backends": [
                {
                    "name": backend.name,
                    "state": state.state,
                    "message": state.message,
                    "slots": backend.slots,
                    "busy": self.busy(backend),
                    "models": [r.model.name for r in routes if r.backend is backend],
                }
                for backend, state in states
            ],
        }

    async def _default_route(self, capability: Capability) -> Route | None:
        try:
            return await self.find("", capability)
        except ModelError:
            return None

    async def _refuse_while_loading(self) -> None:
        for backend in self.backends:
            if (await backend.health()).state == "loading":
                raise BackendUnavailable(
                    f"The {backend.name} backend is still loading.", cure="Try again in a moment."
                )


def _full(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _is_well(health: Health) -> bool:
    return health.state == "ready"
