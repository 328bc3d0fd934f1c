"""A model server over HTTP: requests sent, lines received, faults told apart.

Every way a server can fail becomes one ModelError, so that nobody mistakes a broken answer
for a short one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from millrace.errors import (
    BackendTimeout,
    BackendUnavailable,
    BadAnswer,
    ModelError,
    ModelMissing,
    RequestRefused,
)

CONNECT_S = 5
LONGEST_LINE = 8 * 1024 * 1024
"""A final line repeats the whole context as token ids."""
LONGEST_REASON = 300
_PLACE = re.compile(
    r"(?:https?://[^\s\"']+|(?<![\w.])(?:/[\w.@+-]+){2,}/?|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?)"
)


class Upstream:
    """One model server."""

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        idle_s: float,
        headers: Mapping[str, str] | None = None,
        keeps_alive: bool = True,
    ) -> None:
        self.name = name
        self._session = aiohttp.ClientSession(
            base_url,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=idle_s),
            connector=aiohttp.TCPConnector(limit=0, force_close=not keeps_alive),
            read_bufsize=LONGEST_LINE,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def json(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        within_s: float | None = None,
    ) -> Any:
        """The JSON a request is answered with; within_s limits the whole of it."""
        timeout = aiohttp.ClientTimeout(total=within_s) if within_s else None
        async with self._sent(method, path, body, timeout) as response:
            return self.decoded(await response.read())

    async def lines(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """The lines of an answer as they come, empty ones left out."""
        async with self._sent("POST", path, body) as response:
            async for line in response.content:
                if stripped := line.strip():
                    yield stripped

    def decoded(self, raw: bytes) -> Any:
        """JSON as values; BadAnswer if it is cut or is none."""
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            raise BadAnswer(f"{self.name} sent something that is not JSON.") from error

    def failure(self, status: int, reason: str) -> ModelError:
        """What a status means."""
        said = f"{self.name}: {_public(reason)}" if reason else f"{self.name} answered {status}."
        if status == 404:
            return ModelMissing(said)
        if status in (429, 503):
            return BackendUnavailable(said)
        return RequestRefused(said) if 400 <= status < 500 else BadAnswer(said)

    @asynccontextmanager
    async def _sent(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        options: dict[str, Any] = {"timeout": timeout} if timeout else {}
        if body is not None:
            options |= {
                "data": msgspec.json.encode(body),
                "headers": {"Content-Type": "application/json"},
            }
        try:
            async with self._session.request(method, path, **options) as response:
                if response.status >= 400:
                    raise self.failure(response.status, reason_in(await response.read()))
                yield response
        except TimeoutError as error:
            raise BackendTimeout(f"{self.name} stopped answering.") from error
        except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError) as error:
            raise BackendUnavailable(f"{self.name} does not answer.") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise BadAnswer(f"{self.name} broke off its answer.") from error


def reason_in(raw: bytes) -> str:
    """The error text in a body: {"error": text} or {"error": {"message": text}}."""
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return ""
    error = body.get("error", "") if isinstance(body, dict) else ""
    return str(error.get("message", "")) if isinstance(error, dict) else str(error)


def _public(reason: str) -> str:
    """The reason without paths and addresses of the server, at most LONGEST_REASON characters."""
    return _PLACE.sub("...", reason)[:LONGEST_REASON]
