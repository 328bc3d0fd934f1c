"""Keys that Airflow's components share, generated once into a private file of the home."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from millrace.errors import StackError
from millrace.stack.credentials import write_private


@dataclass(frozen=True)
class AirflowSecrets:
    """What signs tokens and sessions and encrypts stored connections."""

    jwt_secret: str = field(repr=False)
    secret_key: str = field(repr=False)
    fernet_key: str = field(repr=False)


def ensure(path: Path) -> AirflowSecrets:
    """Those kept at that path, else new ones; StackError where the file is damaged."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, json.dumps(asdict(_generated()), indent=2))
    try:
        return AirflowSecrets(**json.loads(path.read_text()))
    except (ValueError, TypeError) as exc:
        raise StackError(
            f"{path} is damaged: {exc}.", cure="Remove it; `up` makes it anew."
        ) from exc


def _generated() -> AirflowSecrets:
    return AirflowSecrets(
        jwt_secret=secrets.token_urlsafe(48),
        secret_key=secrets.token_urlsafe(32),
        fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    )
