"""Starts a part again that died: `python -m millrace.stack.supervision [PART]`.

Airflow's scheduler and DAG processor give up when their database is away for long, and any
process can be killed. A part without a record was stopped on purpose and stays so.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from millrace.settings import Settings
from millrace.stack import embedded, part, postgres, restarts
from millrace.stack.lock import exclusive_if_free
from millrace.stack.part import Part
from millrace.stack.restarts import Restarts
from millrace.stack.supervisor import MODULE

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


def main(arguments: Sequence[str]) -> None:
    """Watch for ever; with a part's name, start that one and leave."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings.load()
    if arguments:
        start(settings, arguments[0])
        return
    log.info("Watching over the stack", extra={"action": "supervise"})
    while True:
        look(settings)
        time.sleep(LOOK_EVERY_S)


def start(settings: Settings, name: str) -> None:
    """Start one part by name; does not wait for its health."""
    [chosen] = [p for p in embedded.parts(settings) if p.name == name]
    if name == "postgres":
        postgres.prepare(settings)
    part.start(chosen)


def look(settings: Settings) -> None:
    """Note which parts have died, and start those whose pause is over."""
    fallen = {p.name: p for p in embedded.parts(settings) if _has_fallen(p)}
    before = restarts.read(settings.home)
    book = {name: known for name, known in before.items() if name not in fallen}
    book = {name: replace(known, due_at=None) for name, known in book.items()}
    for name, each in fallen.items():
        book[name] = _noted(each, before.get(name, Restarts()))
    due = [p for name, p in fallen.items() if (book[name].due_at or 0.0) <= time.time()]
    for name in _started_again(settings, due):
        book[name] = restarts.started(book[name])
    if book != before:
        restarts.write(settings.home, book)


def _has_fallen(each: Part) -> bool:
    return each.record is not None and not each.is_running


def _noted(each: Part, known: Restarts) -> Restarts:
    record = each.record
    now = time.time()
    noted = restarts.noticed(known, started_at=record.started_at if record else now, now=now)
    if noted != known and noted.due_at is not None:
        log.warning(
            "%s died and is started again in %.0f s. Its last words: %s",
            each.name,
            noted.due_at - now,
            part.last_words(each),
            extra={"action": "died", "part": each.name},
        )
    return noted


def _started_again(settings: Settings, due: Sequence[Part]) -> list[str]:
    """The names of those that were started; none while `up` or `down` is at work."""
    if not due:
        return []
    with exclusive_if_free(settings.home) as is_ours:
        return [p.name for p in due if is_ours and _start_detached(settings, p)]


def _start_detached(settings: Settings, each: Part) -> bool:
    """Start it by way of a process that leaves at once, so that it is no child of ours.

    All but Postgres wait for Postgres: they would die again at their start.
    """
    if not _has_fallen(each) or (each.name != "postgres" and not postgres.is_healthy(settings)):
        return False
    done = subprocess.run([sys.executable, "-P", "-m", MODULE, each.name], check=False)
    if done.returncode != 0:
        log.error("%s could not be started; trying again", each.name)
    else:
        log.info("%s was started again", each.name, extra={"action": "start", "part": each.name})
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
