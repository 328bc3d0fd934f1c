"""Secrets of five kinds, made up, to be looked for wherever they must not be."""

from __future__ import annotations

import base64

KEY_LINE = "MIIEowIBAAKCAQEAplantedKeyBody0123456789abcdefghij"
API_KEY = "sk-planted-A1b2C3d4E5f6G7h8"
PASSWORD = "planted-hunter2x"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ"
CONNECTION_URL = "postgresql://joe:planted-urlpass@db.example.org:5432/shop"
PRIVATE_KEY = f"-----BEGIN PRIVATE KEY-----\n{KEY_LINE}\n{KEY_LINE}\n-----END PRIVATE KEY-----"

SECRETS = {
    "API key": API_KEY,
    "password": PASSWORD,
    "JWT": JWT,
    "connection URL": CONNECTION_URL,
    "private key": PRIVATE_KEY,
}

TELLING = {
    "API key": "planted-A1b2C3d4E5f6",
    "password": PASSWORD,
    "JWT": "c2lnbmF0dXJlLXBsYW50ZWQ",
    "connection URL": "planted-urlpass",
    "private key": KEY_LINE,
}
"""The part of each that gives it away: what is searched for."""

ENVIRONMENT = {f"PLANTED_{kind.upper().replace(' ', '_')}": v for kind, v in SECRETS.items()}
"""What a careless shell has exported when somebody types `millrace up`."""


def spellings(secret: str) -> tuple[bytes, ...]:
    """The secret as it stands, and what base64 of any text with it in it contains."""
    plain = secret.encode()
    return (plain, *(_inside_base64(plain, offset) for offset in range(3)))


def _inside_base64(secret: bytes, offset: int) -> bytes:
    # The first and last characters share bits with the neighbours: only those between are sure.
    encoded = base64.b64encode(b"\0" * offset + secret).rstrip(b"=")
    return encoded[-(-offset * 8 // 6) : (offset + len(secret)) * 8 // 6]
