"""Turns, disconnects and broken answers, over the ASGI application with a backend made for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import BadAnswer, SettingsError
from millrace.gateway.app import App, create_app
from millrace.gateway.backends.base import Ask, Done, EmbedAsk, Embedded, Health, Model, Piece
from millrace.settings import Settings

KEY = "unit-test-key"


class SlowBackend:
    """Has one slot, answers one word and the rest when it is let go on."""

    name = "slow"
    slots = 1

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.began = 0
        self.left = 0
        self.failure: Exception | None = None

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def loaded(self) -> None:
        """It never loads."""

    async def health(self) -> Health:
        """Always ready."""
        return Health("ready")

    async def models(self) -> Sequence[Model]:
        """One model."""
        return (Model("slow", frozenset({"completion"})),)

    async def show(self, model: Model) -> Mapping[str, Any]:
        """Nothing to show."""
        return {}

    async def embed(self, ask: EmbedAsk) -> Embedded:
        """No vectors."""
        return Embedded([])

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """A word, a wait, the end."""
        self.began += 1
        try:
            yield Piece("one ")
            await self.go_on.wait()
            if self.failure:
                raise self.failure
            yield Piece("two", done=Done("stop", 1, 2))
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise


class Caller:
    """One request to the application, and what came back."""

    def __init__(self, app: App, body: Mapping[str, Any], path: str = "/api/chat") -> None:
        self.sent: list[Mapping[str, Any]] = []
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "http.request", "body": json.dumps(body).encode()})
        headers = [(b"authorization", f"Bearer {KEY}".encode())]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        self.task = asyncio.ensure_future(app(scope, self._inbox.get, self._send))

    async def _send(self, event: Mapping[str, Any]) -> None:
        self.sent.append(event)

    def leave(self) -> None:
        """Hang up."""
        self._inbox.put_nowait({"type": "http.disconnect"})

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of the reply so far."""
        body = b"".join(event.get("body", b"") for event in self.sent)
        return [json.loads(line) for line in body.splitlines()]

    @property
    def status(self) -> int:
        """The status of the reply."""
        status: int = self.sent[0]["status"]
        return status


@pytest.fixture
async def backend() -> SlowBackend:
    """A backend to wait for."""
    return SlowBackend()


@pytest.fixture
def app(backend: SlowBackend, tmp_path: Path) -> App:
    """The application over it."""
    environ = {"MILLRACE_HOME": str(tmp_path), "MILLRACE_GATEWAY_KEY": KEY}
    return create_app(Settings.load(environ), [backend])


def chat(stream: bool) -> dict[str, Any]:
    """A chat request."""
    return {"model": "slow", "stream": stream, "messages": [{"role": "user", "content": "x"}]}


async def until(condition: Any) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_whose_client_leaves_is_cancelled(
    app: App, backend: SlowBackend, stream: bool
) -> None:
    caller = Caller(app, chat(stream))
    await until(lambda: backend.began)
    caller.leave()
    await caller.task
    assert backend.left == 1
    backend.go_on.set()
    after = Caller(app, chat(stream=False))
    await after.task
    assert after.lines[0]["message"]["content"] == "one two"


async def test_a_request_that_waits_is_dropped_when_its_client_leaves(
    app: App, backend: SlowBackend
) -> None:
    first, second, third = (Caller(app, chat(stream=False)) for _ in range(3))
    await until(lambda: backend.began)
    second.leave()
    await second.task
    assert second.sent == []
    backend.go_on.set()
    await asyncio.gather(first.task, third.task)
    assert (first.status, third.status) == (200, 200)
    assert backend.began == 2


async def test_only_as_many_are_served_as_there_are_slots(app: App, backend: SlowBackend) -> None:
    callers = [Caller(app, chat(stream=True)) for _ in range(3)]
    await until(lambda: callers[0].sent)
    assert backend.began == 1
    backend.go_on.set()
    await asyncio.gather(*(caller.task for caller in callers))
    assert backend.began == 3


async def test_an_answer_that_breaks_in_the_middle_ends_in_an_error_line(
    app: App, backend: SlowBackend
) -> None:
    backend.failure = BadAnswer("it broke")
    backend.go_on.set()
    streamed = Caller(app, chat(stream=True))
    await streamed.task
    assert streamed.status == 200
    assert streamed.lines[-1] == {"error": "it broke"}
    whole = Caller(app, chat(stream=False))
    await whole.task
    assert (whole.status, whole.lines) == (502, [{"error": "it broke"}])


async def test_a_defect_is_told_without_its_insides(
    app: App, backend: SlowBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.failure = KeyError("a-prompt-in-an-exception")
    backend.go_on.set()
    caller = Caller(app, chat(stream=False))
    await caller.task
    assert caller.status == 500
    assert caller.lines == [{"error": "Internal error; the gateway's log says where."}]
    assert "KeyError" in caplog.text
    assert "a-prompt-in-an-exception" not in caplog.text


def test_there_is_no_application_without_a_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_GATEWAY_KEY"):
        create_app(Settings.load({"MILLRACE_HOME": str(tmp_path)}), [])
