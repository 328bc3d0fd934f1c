"""Starts the gateway: `python -m millrace.gateway`."""

from __future__ import annotations

import logging
import socket
import sys

import uvicorn

from millrace.errors import MillraceError, PortTaken
from millrace.gateway.app import create_app
from millrace.gateway.backends.base import Backend
from millrace.gateway.backends.llamacpp import LlamaCppBackend
from millrace.gateway.backends.ollama import OllamaBackend
from millrace.gateway.backends.trial.backend import TrialBackend
from millrace.settings import Settings

LOOPBACK = "127.0.0.1"
NO_OLLAMA = "off"
"""As MILLRACE_OLLAMA_HOST: do not even look whether an Ollama server is there."""
GRACE_S = 10
"""How long requests in flight may go on after SIGTERM."""


def main() -> int:
    """Serve until SIGTERM or SIGINT; 1 with one line on stderr if that cannot begin."""
    try:
        settings = Settings.load()
        logging.basicConfig(
            level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        app = create_app(settings, backends(settings))
        listener = listen(settings.gateway_port)
    except MillraceError as error:
        print(f"millrace gateway: {error}", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def backends(settings: Settings) -> list[Backend]:
    """The backends these settings name, in their order of preference."""
    found: list[Backend] = []
    if settings.ollama_host != NO_OLLAMA:
        found.append(OllamaBackend(settings.ollama_host))
    if settings.gguf:
        found.append(LlamaCppBackend(settings.gguf))
    return [*found, TrialBackend()]


def listen(port: int) -> socket.socket:
    """A socket on the loopback only; PortTaken if another program has the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"Port {port} of {LOOPBACK} is taken.", cure="Set MILLRACE_GATEWAY_PORT to a free one."
        ) from error
    return listener


if __name__ == "__main__":
    sys.exit(main())
