"""Failure and recovery messages to a stream's notification target, by Apprise.

Apprise speaks e-mail, chats and webhooks by one URL each; the URLs hold secrets, so the row
names a target and the settings hold its URL (MILLRACE_NOTIFY_<NAME>).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from millrace.airflow.stores import settings
from millrace.control.base import LogEntry, RunStore
from millrace.model import RunIdentity, Stream

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Announcement:
    """A message as a person gets it."""

    title: str
    body: str
    is_failure: bool


def announce_failure(stream: Stream, identity: RunIdentity, store: RunStore) -> bool:
    """Tell the stream's target that a process run failed for good."""
    entry = _last(store, identity)
    text = entry.message if entry else "no attempt was made"
    return _announce(stream, _written("failed", stream, identity, text, is_failure=True))


def announce_recovery(stream: Stream, identity: RunIdentity, store: RunStore) -> bool:
    """Tell it that a process succeeded whose attempt before had failed; silent otherwise."""
    entries = store.log(process_name=identity.process_name, limit=2)
    if len(entries) < 2 or entries[1].status not in ("failed", "crashed"):
        return False
    text = f"It had failed with: {entries[1].message}"
    return _announce(stream, _written("recovered", stream, identity, text, is_failure=False))


def send(url: str, announcement: Announcement) -> bool:
    """Send by Apprise, which is imported only when there is something to send."""
    from apprise import Apprise, NotifyType

    target = Apprise()
    kind = NotifyType.FAILURE if announcement.is_failure else NotifyType.SUCCESS
    return bool(
        target.add(url)
        and target.notify(title=announcement.title, body=announcement.body, notify_type=kind)
    )


def _announce(stream: Stream, announcement: Announcement) -> bool:
    if not stream.notify:
        return False
    url = settings().notify.get(stream.notify.lower())
    if url is None:
        log.warning(
            "No notification: the settings have no MILLRACE_NOTIFY_%s", stream.notify.upper()
        )
        return False
    if not send(url, announcement):
        log.warning("Notification target %s did not take the message", stream.notify)
        return False
    return True


def _written(
    what: str, stream: Stream, identity: RunIdentity, text: str, *, is_failure: bool
) -> Announcement:
    link = f"{settings().airflow_url}/millrace/runs/{identity.run_id}/notebook"
    body = (
        f"{text}\n\nstream: {stream.stream_name} (owner {stream.owner})\n"
        f"data date: {identity.data_date}, generation {identity.generation}\nnotebook: {link}"
    )
    return Announcement(f"{identity.process_name} {what}", body, is_failure)


def _last(store: RunStore, identity: RunIdentity) -> LogEntry | None:
    entries = store.log(process_name=identity.process_name, limit=1)
    return entries[0] if entries else None
