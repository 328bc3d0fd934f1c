"""Which backend serves a model, and whose turn it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from millrace.errors import ModelMissing
from millrace.gateway.backends.base import Backend, Capability, Health, Model
from millrace.settings import Settings

LOAD_WAIT_S = 120.0
"""How long a request waits for a model that is being loaded."""


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

        Waits for backends that still load, if the model may be theirs. Raises ModelMissing.
        """
        wanted = name or self._default[capability]
        fits = await self._fitting(wanted, capability)
        if not (fits and wanted) and await self._has_loaded():
            fits = await self._fitting(wanted, capability)
        if fits:
            return fits[0]
        served = ", ".join(route.model.name for route in await self.routes())
        raise ModelMissing(
            f"model {wanted!r} not found." if wanted else f"There is no model for {capability}.",
            cure=f"Served here: {served or 'none'}.",
        )

    async def _fitting(self, wanted: str, capability: Capability) -> list[Route]:
        routes = await self.routes()
        if wanted:
            return [route for route in routes if _full(route.model.name) == _full(wanted)]
        return [route for route in routes if capability in route.model.capabilities]

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
        return next(iter(await self._fitting(self._default[capability], capability)), None)

    async def _has_loaded(self) -> bool:
        """Wait for whatever still loads; False if nothing did."""
        loading = [b for b in self.backends if (await b.health()).state == "loading"]
        with suppress(TimeoutError):
            async with asyncio.timeout(LOAD_WAIT_S):
                for backend in loading:
                    await backend.loaded()
        return bool(loading)


def _full(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _is_well(health: Health) -> bool:
    return health.state in ("ready", "absent")
