"""Calls to the gateway (Ollama API), and what their failures mean to a batch."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from millrace.errors import BackendUnavailable, BadAnswer, ModelError, ModelMissing

FailureKind = Literal["busy", "flaky", "row", "stop"]
"""busy: wait and try again, for as long as patience lasts; flaky: try again a few times;
row: this request's fault; stop: no request will succeed."""

CONNECT_TIMEOUT_S = 5


class CallFailed(Exception):
    """One call that brought no answer: the error to show, and what to do about it."""

    def __init__(
        self, error: ModelError, kind: FailureKind, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.kind = kind
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class GatewayAddress:
    """Where the gateway is and the key it asks for; `timeout_s` is for one call, waiting included."""

    url: str
    key: str = ""
    timeout_s: float = 600

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[GatewayClient]:
        """A client with a connection pool of its own, for as long as the block runs."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        timeout = aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            headers=headers, timeout=timeout, connector=connector
        ) as session:
            yield GatewayClient(session, self.url.rstrip("/"))


class GatewayClient:
    """One try per call; CallFailed for anything but a complete answer."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def health(self) -> Mapping[str, Any]:
        """GET /health: among others `slots` and the default `model`."""
        return await self._call("GET", "/health", None)

    async def chat(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], float]:
        """POST /api/chat without streaming: the whole reply and the seconds it took."""
        return await self._timed("/api/chat", {**body, "stream": False})

    async def embed(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], float]:
        """POST /api/embed: the whole reply and the seconds it took."""
        return await self._timed("/api/embed", body)

    async def _timed(self, path: str, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], float]:
        started = time.monotonic()
        reply = await self._call("POST", path, body)
        return reply, time.monotonic() - started

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        try:
            async with self._session.request(method, self._url + path, json=body) as response:
                text = await response.text()
        except TimeoutError as exc:
            error = BackendUnavailable(f"The gateway at {self._url} did not answer in time.")
            kind: FailureKind = "busy" if isinstance(exc, aiohttp.ServerTimeoutError) else "flaky"
            raise CallFailed(error, kind) from exc
        except aiohttp.ClientError as exc:
            raise CallFailed(_unreachable(self._url, exc), "busy") from exc
        if response.status != 200:
            raise _refused(response, text)
        return _parsed(text)


async def patiently(
    call: Any, *, patience_s: float, tries: int = 3, first_wait_s: float = 0.5
) -> Any:
    """Await `call()` until it answers: busy is retried for `patience_s`, flaky `tries` times.

    Raises the last CallFailed. Waits double, with jitter, and obey Retry-After.
    """
    started, wait_s, flaky = time.monotonic(), first_wait_s, 0
    while True:
        try:
            return await call()
        except CallFailed as failure:
            flaky += failure.kind == "flaky"
            waited_s = time.monotonic() - started
            out_of_patience = failure.kind == "busy" and waited_s + wait_s > patience_s
            if failure.kind in ("row", "stop") or out_of_patience or flaky >= tries:
                raise
            await asyncio.sleep(max(_jittered(wait_s), failure.retry_after_s or 0))
            wait_s = min(wait_s * 2, 15)


def _jittered(seconds: float) -> float:
    # The clock's low digits are jitter enough, and the callers' own random state stays untouched.
    return seconds * (0.5 + (time.monotonic_ns() % 1009) / 1009)


def _unreachable(url: str, exc: Exception) -> BackendUnavailable:
    return BackendUnavailable(
        f"The gateway at {url} does not answer: {exc}.", cure="See `millrace status`."
    )


def _refused(response: aiohttp.ClientResponse, text: str) -> CallFailed:
    status, message = response.status, _message(text)
    if status == 404:
        return CallFailed(ModelMissing(message, cure="See `millrace status` for those."), "stop")
    if status in (401, 403):
        cure = "Set MILLRACE_GATEWAY_KEY to one of the gateway's keys."
        return CallFailed(ModelError(f"The gateway refused the key: {message}", cure=cure), "stop")
    if status in (429, 503):
        retry_after_s = _seconds(response.headers.get("Retry-After"))
        busy = BackendUnavailable(f"The gateway is busy ({status}): {message}")
        return CallFailed(busy, "busy", retry_after_s=retry_after_s)
    kind: FailureKind = "flaky" if status >= 500 else "row"
    return CallFailed(ModelError(f"The gateway answered {status}: {message}"), kind)


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        reply = json.loads(text)
    except ValueError as exc:
        raise CallFailed(BadAnswer("The gateway's reply is cut short."), "flaky") from exc
    if not isinstance(reply, dict):
        raise CallFailed(BadAnswer("The gateway's reply is no JSON object."), "flaky")
    if "error" in reply:
        # Ollama reports what fails after its headers inside a 200.
        raise CallFailed(ModelError(f"The model failed: {reply['error']}"), "flaky")
    return reply


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["error"])[:500]
    except (ValueError, KeyError, TypeError):
        return text.strip()[:200] or "no reason given"


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdigit() else None
