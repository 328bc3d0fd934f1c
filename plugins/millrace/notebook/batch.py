"""The engine of `llm.map`: rows through a bounded number of requests, to one commit point."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from millrace.errors import MillraceError, ModelError
from millrace.notebook.asking import Ask, Reply, ask_row
from millrace.notebook.client import CallFailed, GatewayClient
from millrace.notebook.prompts import Message

Question = list[Message] | Exception
Commit = Callable[[int, Reply], None]
"""Takes each row's number and reply once, as it comes; the only way a result leaves the engine."""

MIN_FAILED_ROWS = 10
"""When the first rows all fail, the fault is the prompt's or the model's: stop and say so."""


async def run_batch(
    client: GatewayClient,
    ask: Ask,
    questions: Iterator[Question],
    commit: Commit,
    *,
    concurrency: int,
) -> None:
    """Ask every question, `concurrency` at a time, and commit every reply.

    Questions are taken from the iterator when there is room, so memory holds those in flight.
    Raises ModelError when no row can succeed: backend gone, model missing, all first rows fail.
    """
    numbered = enumerate(questions)
    judge = _Judge(max(MIN_FAILED_ROWS, concurrency))

    async def work() -> None:
        for number, question in numbered:
            reply = await _reply(client, ask, question)
            commit(number, reply)
            judge.saw(reply)

    await _all_or_first_error([work() for _ in range(concurrency)])


async def _reply(client: GatewayClient, ask: Ask, question: Question) -> Reply:
    if isinstance(question, Exception):
        return Reply(reason=f"The prompt could not be made: {question!r}")
    try:
        return await ask_row(client, ask, question)
    except CallFailed as failure:
        raise failure.error from failure


class _Judge:
    """Stops a batch whose first rows all fail."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._failed = 0
        self._hopeful = False

    def saw(self, reply: Reply) -> None:
        self._hopeful = self._hopeful or reply.ok
        self._failed += 1
        if not self._hopeful and self._failed >= self._patience:
            raise ModelError(
                f"The first {self._failed} rows all failed; the last one: {reply.reason}",
                cure="Try the prompt on one row with run.llm.chat(...), then map again.",
            )


async def _all_or_first_error(work: Sequence[asyncio._CoroutineLike[None]]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except* MillraceError as errors:
        raise errors.exceptions[0] from None
