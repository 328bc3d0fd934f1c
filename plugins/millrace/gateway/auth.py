"""Who is calling: a bearer key, compared in constant time."""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest

from millrace.errors import SettingsError
from millrace.gateway.http import Exchange, HttpRefusal

OPEN_PATHS = frozenset({"/health"})
"""What answers without a key."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose key is known."""

    name: str


class KeyAuth:
    """Knows one key, the gateway's own."""

    def __init__(self, key: str) -> None:
        if not key:
            raise SettingsError(
                "The gateway has no API key.",
                cure="Set MILLRACE_GATEWAY_KEY, or start it by `millrace up`, which makes one.",
            )
        self._key = key.encode()

    def caller(self, exchange: Exchange) -> Caller | None:
        """The caller, or None on an open path; HttpRefusal (401) without a valid key."""
        if exchange.path in OPEN_PATHS:
            return None
        scheme, _, given = exchange.header(b"authorization").partition(b" ")
        if scheme.lower() == b"bearer" and compare_digest(given.strip(), self._key):
            return Caller("gateway_key")
        raise HttpRefusal(
            401,
            "Missing or wrong API key. Send `Authorization: Bearer KEY`; "
            "ollama clients do when OLLAMA_API_KEY is set.",
            headers=((b"www-authenticate", b"Bearer"),),
        )
