"""The gateway's ASGI application: authentication, routing, and errors mapped once."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from millrace.errors import (
    BackendTimeout,
    BackendUnavailable,
    BadAnswer,
    MillraceError,
    ModelMissing,
    RequestRefused,
)
from millrace.gateway.auth import KeyAuth
from millrace.gateway.backends.base import Backend
from millrace.gateway.doors import ollama as ollama_door
from millrace.gateway.http import Exchange, HttpRefusal, Receive, Scope, Send
from millrace.gateway.routing import Router
from millrace.settings import Settings

logger = logging.getLogger(__name__)

Handler = Callable[[Exchange, Router], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STATUS: Sequence[tuple[type[MillraceError], int]] = (
    (ModelMissing, 404),
    (RequestRefused, 400),
    (BackendTimeout, 504),
    (BackendUnavailable, 503),
    (BadAnswer, 502),
)
INTERNAL = "Internal error; the gateway's log says where."


def create_app(settings: Settings, backends: Sequence[Backend]) -> App:
    """The application over these backends, in their order of preference.

    Raises SettingsError without a gateway key: there is no open door.
    """
    return Gateway(KeyAuth(settings.gateway_key), Router(settings, backends))


class Gateway:
    """The ASGI application."""

    def __init__(self, auth: KeyAuth, router: Router) -> None:
        self._auth = auth
        self._router = router
        self._routes: Mapping[tuple[str, str], Handler] = {
            ("GET", "/health"): _health,
            **ollama_door.ROUTES,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 has it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(Exchange(scope, receive, send))
        else:
            raise RuntimeError(f"The gateway does not speak {scope['type']}.")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while (event := (await receive())["type"]) != "lifespan.shutdown":
            if event == "lifespan.startup":
                for backend in self._router.backends:
                    await backend.start()
                await send({"type": "lifespan.startup.complete"})
        for backend in self._router.backends:
            await backend.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, exchange: Exchange) -> None:
        try:
            self._auth.caller(exchange)
            await exchange.read()
            await self._unless_gone(exchange)
        except ConnectionError:
            logger.debug("The client left.", extra={"action": "left", "path": exchange.path})
        except MillraceError as error:
            await _fail(exchange, error)
        except Exception as error:  # noqa: BLE001 - the last resort: the caller must get an answer
            # Frames only: an exception's own text may quote a prompt.
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error(
                "A request failed: %s\n%s",
                type(error).__name__,
                frames,
                extra={"action": "failed", "path": exchange.path},
            )
            await _fail(exchange, HttpRefusal(500, INTERNAL))

    async def _unless_gone(self, exchange: Exchange) -> None:
        """Run the handler; a client that leaves takes its waiting or running work with it."""
        work = asyncio.ensure_future(self._handler(exchange)(exchange, self._router))
        gone = asyncio.ensure_future(exchange.disconnected())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ConnectionError("the client left")
            work.result()
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    def _handler(self, exchange: Exchange) -> Handler:
        method = "GET" if exchange.method == "HEAD" else exchange.method
        if found := self._routes.get((method, exchange.path)):
            return found
        raise ollama_door.refusal(method, exchange.path, self._routes)


async def _health(exchange: Exchange, router: Router) -> None:
    await exchange.reply(200, await router.health())


async def _fail(exchange: Exchange, error: MillraceError) -> None:
    """Say what went wrong, in the status if it is not sent yet, else in a last line."""
    refusal = error if isinstance(error, HttpRefusal) else HttpRefusal(_status(error), str(error))
    status = refusal.status
    logger.info(
        "A request was refused.",
        extra={"action": "refused", "path": exchange.path, "status": status},
    )
    with suppress(ConnectionError):  # nobody is left to be told
        if exchange.status is None:
            await exchange.reply(status, {"error": str(error)}, refusal.headers)
        else:
            await exchange.line({"error": str(error)})
            await exchange.end()


def _status(error: MillraceError) -> int:
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)
