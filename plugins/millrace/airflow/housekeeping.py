"""What runs every minute: a watchdog for attempts whose task is gone, and retention."""

from __future__ import annotations

import logging

import psycopg2

from millrace.airflow.notify import announce_failure
from millrace.airflow.stores import Stores, settings, stores
from millrace.control.base import LogEntry
from millrace.errors import UnknownName
from millrace.plan import spec

log = logging.getLogger(__name__)

SILENT_FOR_S = 120.0
"""Longer than Airflow needs to notice a dead task and retry it: an attempt that comes back in
time is never called crashed."""
SNAPSHOTS_KEPT = 200

NEVER_BEAT = """
    UPDATE task_instance SET last_heartbeat_at = start_date
    WHERE state = 'running' AND last_heartbeat_at IS NULL
      AND start_date < now() - interval '60 seconds'
    RETURNING dag_id, run_id, task_id
"""
"""A task killed before its first heartbeat: Airflow 3.3 compares with NULL and never ends it.
Given a heartbeat to compare with, Airflow's own detector does the rest."""

NEVER_BEGAN = """
    UPDATE task_instance
    SET state = 'running', start_date = queued_dttm, last_heartbeat_at = queued_dttm
    WHERE state = 'queued' AND queued_dttm < now() - interval '180 seconds'
    RETURNING dag_id, run_id, task_id
"""
"""A task whose worker was killed between taking it and reporting it: Airflow asks the executor to
take it back, which the LocalExecutor cannot, and leaves it queued. This executor is only handed
what it has a free worker for, so nothing stays queued that long while all is well."""


def watch() -> None:
    """Close lost attempts as crashed and tell about them; wake Airflow's own detector."""
    for entry in stores().runs.crash_lost(silent_for_s=SILENT_FOR_S):
        log.warning("%s crashed: %s", entry.identity.run_id, entry.message)
        _tell(stores(), entry)
    if settings().airflow_database_url:
        revive_detector(settings().airflow_database_url)


def retain() -> None:
    """Drop snapshots no run refers to, beyond the newest."""
    dropped = stores().control.prune_snapshots(keep_latest=SNAPSHOTS_KEPT)
    log.info("Snapshots dropped: %d", dropped)


def revive_detector(database_url: str) -> int:
    """Give tasks that never beat a heartbeat to be judged by; how many there were."""
    connection = psycopg2.connect(database_url, connect_timeout=5)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(NEVER_BEAT)
            rows = cursor.fetchall()
            cursor.execute(NEVER_BEGAN)
            rows += cursor.fetchall()
    finally:
        connection.close()
    for dag_id, run_id, task_id in rows:
        log.warning(
            "Task %s of %s %s never beat: handed to Airflow's detector", task_id, dag_id, run_id
        )
    return len(rows)


def _tell(known: Stores, entry: LogEntry) -> None:
    content = known.control.load_snapshot(entry.control_version).content
    try:
        stream = spec(content, entry.identity.process_name).stream
    except UnknownName:
        log.info("%s is in no stream any more: nobody to tell", entry.identity.process_name)
        return
    announce_failure(stream, entry.identity, known.runs)
