"""Airflow pools that rows name. A task of a missing pool would wait for ever, so it is made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.models.pool import Pool
from airflow.utils.session import create_session
from sqlalchemy import select

log = logging.getLogger(__name__)

SLOTS = 4
"""Of a pool made here; a person changes it under Admin > Pools, and that stays."""


def ensure_pools(content: Mapping[str, Any]) -> set[str]:
    """Make the pools that the processes of a snapshot's content name; those that were made."""
    named = {p["pool"] for entry in content["streams"].values() for p in entry["processes"]}
    with create_session() as session:
        missing = named - set(session.scalars(select(Pool.pool)))
        for name in sorted(missing):
            told = "Made because control.process.pool names it"
            session.add(Pool(pool=name, slots=SLOTS, description=told, include_deferred=False))
    if missing:
        log.info("Pools made", extra={"action": "pools", "names": sorted(missing)})
    return missing
