"""Which process run a process's DAG run is for, and whether it is the one to execute it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from millrace.airflow import dates
from millrace.airflow.requests import Requester, tick_of
from millrace.airflow.stores import Stores
from millrace.control.base import Request
from millrace.model import LIVE_STATES, ProcessRun, RunIdentity, Stream
from millrace.plan import spec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """A process run as one of its DAG runs sees it."""

    identity: RunIdentity
    control_version: str
    is_done: bool = False
    """It has succeeded, and nobody asked for it again."""
    is_guest: bool = False
    """Another DAG run executes it; this one waits and ends as that one does."""


def claim(
    stores: Stores, process_name: str, stream: Stream, context: Any, requester: Requester
) -> Claim:
    """Find or open the process run this DAG run stands for.

    A DAG run named `<process>__<data date>__g<generation>` executes that identity. Any other
    (a person's Trigger) resolves date and generation, and executes unless somebody else does.
    """
    run = stores.runs.process_run_of(process_name, requester.dag_run_id)
    if run is not None and run.state in LIVE_STATES:
        return Claim(run.identity, run.control_version)
    identity = _identity(stores, run, process_name, stream, context, requester)
    latest = stores.control.latest_version()
    request = Request(
        identity,
        stream.stream_name,
        latest,
        requester.key,
        requester.began_at,
        redo=requester.cleared,
    )
    decision = stores.runs.request(request)
    return _claimed(decision.run, decision.verdict, requester)


def wanted_dependencies(stores: Stores, mine: Claim) -> list[tuple[str, str]]:
    """(run id, stream name) of each active dependency, by the snapshot the run uses.

    The own stream's processes in the same generation; others' in their latest one.
    """
    content = stores.control.load_snapshot(mine.control_version).content
    found = spec(content, mine.identity.process_name)
    wanted = []
    for dependency in found.dependencies:
        stream_name = found.dependency_streams.get(dependency.depends_on)
        if not dependency.is_active or stream_name is None:
            log.info("Dependency %s is inactive: skipped", dependency.depends_on)
            continue
        identity = _dependency_identity(
            stores, mine, dependency.depends_on, stream_name == found.stream.stream_name
        )
        wanted.append((identity.run_id, stream_name))
    return wanted


def _identity(
    stores: Stores,
    run: ProcessRun | None,
    process_name: str,
    stream: Stream,
    context: Any,
    requester: Requester,
) -> RunIdentity:
    if run is not None:
        return run.identity
    named = RunIdentity.parse(requester.dag_run_id)
    if named is not None and named.process_name == process_name:
        return named
    tick = tick_of(context)
    day = dates.data_date(tick, stream)
    latest = stores.runs.latest_generation(process_name, day)
    is_new = dates.opens_generation(tick) and stores.runs.process_run(
        RunIdentity(process_name, day, latest)
    )
    return RunIdentity(process_name, day, latest + 1 if is_new else latest)


def _claimed(run: ProcessRun, verdict: str, requester: Requester) -> Claim:
    own_name = run.identity.run_id == requester.dag_run_id
    return Claim(
        run.identity,
        run.control_version,
        is_done=verdict == "done",
        is_guest=verdict in ("wait", "failed") and not own_name,
    )


def _dependency_identity(
    stores: Stores, mine: Claim, process_name: str, is_own_stream: bool
) -> RunIdentity:
    day = mine.identity.data_date
    generation = (
        mine.identity.generation
        if is_own_stream
        else stores.runs.latest_generation(process_name, day)
    )
    return RunIdentity(process_name, day, generation)
