"""A TCP proxy that misbehaves on request: passes, swallows everything, or takes its time."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Literal, Self

Mode = Literal["pass", "blackhole", "slow"]
CHUNK_BYTES = 65536


class FaultProxy:
    """Listens on a free loopback port while the context lasts and forwards to `target`.

    `blackhole` accepts connections and keeps those there are, and lets nothing through in either
    direction: the fault that no server timeout and no keepalive notices. `slow` lets every chunk
    wait. What was swallowed is lost: after a blackhole its connections are cut.
    """

    def __init__(self, target: tuple[str, int], *, delay_s: float = 1.0) -> None:
        self.port = 0
        self.swallowed = 0
        self._target = target
        self._delay_s = delay_s
        self._mode: Mode = "pass"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._listen())
        return self

    def __exit__(self, *exc: object) -> None:
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def mode(self) -> Mode:
        """What happens to what comes through now."""
        return self._mode

    def become(self, mode: Mode) -> None:
        """Change for open and new connections alike."""
        was, self._mode = self._mode, mode
        if was == "blackhole":
            self._await(self._cut())

    def _await(self, work: asyncio.Future[None] | object) -> None:
        assert asyncio.iscoroutine(work)
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        open_ = list(self._connections)
        for connection in open_:
            connection.cancel()
        await asyncio.gather(*open_, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        self._connections.add(me)
        # A cancelled handler would be logged as an error: being cut is what it is for.
        with suppress(OSError, asyncio.CancelledError):
            try:
                far_reader, far_writer = await asyncio.open_connection(*self._target)
                try:
                    await self._join(reader, far_writer, far_reader, writer)
                finally:
                    far_writer.close()
            finally:
                writer.close()
                self._connections.discard(me)

    async def _join(
        self,
        near: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        far: asyncio.StreamReader,
        near_writer: asyncio.StreamWriter,
    ) -> None:
        """Both directions, until either side ends."""
        both = {
            asyncio.create_task(self._pump(near, far_writer)),
            asyncio.create_task(self._pump(far, near_writer)),
        }
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in both:
                pump.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._mode == "blackhole":
                self.swallowed += 1
                continue
            if self._mode == "slow":
                await asyncio.sleep(self._delay_s)
            writer.write(chunk)
            await writer.drain()
