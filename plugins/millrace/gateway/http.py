"""One HTTP request and its reply over bare ASGI: nothing between the socket and the door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from millrace.errors import MillraceError

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

MAX_BODY_BYTES = 64 * 1024 * 1024
"""Room for a few photographs in base64; what is larger is refused with 413."""

JSON = b"application/json; charset=utf-8"
NDJSON = b"application/x-ndjson"
_encode = msgspec.json.Encoder().encode


class HttpRefusal(MillraceError):
    """The request is refused before it reaches a backend."""

    def __init__(self, status: int, message: str, *, headers: tuple[tuple[bytes, bytes], ...] = ()):
        super().__init__(message)
        self.status = status
        self.headers = headers


class Exchange:
    """A request being answered."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.body = b""
        self.status: int | None = None
        """The status already sent; None while the reply can still become another one."""
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> bytes:
        """A request header by its lower-case name; b"" where it is absent."""
        return next((value for key, value in self._headers if key == name), b"")

    async def read(self) -> None:
        """Take the body in; HttpRefusal (413) as soon as it is known to be too large."""
        declared = self.header(b"content-length")
        size = int(declared) if declared.isdigit() else 0
        chunks: list[bytes] = []
        while True:
            if size > MAX_BODY_BYTES:
                raise HttpRefusal(413, f"The request body exceeds {MAX_BODY_BYTES:,} bytes.")
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ConnectionError("the client left while it was sending")
            chunks.append(event.get("body", b""))
            size = max(size, sum(map(len, chunks)))
            if not event.get("more_body"):
                self.body = b"".join(chunks)
                return

    async def disconnected(self) -> None:
        """Returns when the client is gone; only after read()."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reply(
        self, status: int, content: Any, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """Answer with JSON, or with text/plain for a str."""
        is_text = isinstance(content, str)
        body = content.encode() if is_text else _encode(content)
        kind = b"text/plain; charset=utf-8" if is_text else JSON
        await self.begin(status, kind, (*headers, (b"content-length", b"%d" % len(body))))
        await self._send(
            {"type": "http.response.body", "body": b"" if self.method == "HEAD" else body}
        )

    async def begin(
        self, status: int, content_type: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """Send the status line; the reply is then bound to it."""
        self.status = status
        head = [(b"content-type", content_type), (b"x-content-type-options", b"nosniff"), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})

    async def line(self, content: Any) -> None:
        """One line of an NDJSON reply that has begun."""
        body = _encode(content) + b"\n"
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        """End a reply sent in lines."""
        await self._send({"type": "http.response.body", "body": b""})
