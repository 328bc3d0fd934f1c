"""One row's question to the model: asked, checked for completeness, read, asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace.errors import BadAnswer
from millrace.notebook.answers import AnswerShape
from millrace.notebook.client import CallFailed, GatewayClient, patiently
from millrace.notebook.prompts import Message

NUM_CTX = 8192
"""Default context of a request, in tokens: stated, because Ollama's own is cut silently."""

READ_TRIES = 3
"""An answer that does not fit is asked for again, with what was wrong, twice."""


@dataclass(frozen=True)
class Ask:
    """What all rows of a batch share: model ('' is the gateway's default), shape, options."""

    model: str
    shape: AnswerShape
    options: Mapping[str, Any] = field(default_factory=dict)
    num_ctx: int = NUM_CTX
    patience_s: float = 60

    def body(self, messages: Sequence[Message]) -> dict[str, Any]:
        """The request: nothing may be cut or shifted out of the context in silence."""
        body: dict[str, Any] = {"model": self.model, "messages": list(messages)}
        body |= {"truncate": False, "shift": False}
        body["options"] = {**self.options, "num_ctx": self.num_ctx}
        return body | ({"format": self.shape.format} if self.shape.format else {})


@dataclass(frozen=True)
class Reply:
    """What came of one row. `reason` is empty for an answer that fits; `text` is the raw answer."""

    text: str = ""
    reason: str = ""
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0

    @property
    def ok(self) -> bool:
        """Whether the answer is complete and fits its shape."""
        return not self.reason


async def ask_row(client: GatewayClient, ask: Ask, messages: Sequence[Message]) -> Reply:
    """The reply to one row. A fault of this row is in `reason`; CallFailed is a fault of all."""
    conversation, reply = list(messages), Reply()
    for _ in range(READ_TRIES):
        try:
            raw, seconds = await _chat(client, ask, conversation)
        except CallFailed as failure:
            if failure.kind in ("busy", "stop"):
                raise
            return _with(reply, reason=str(failure.error))
        reply = _with(_counted(reply, raw, seconds), text=_content(raw))
        if fault := _incomplete(raw, ask.num_ctx):
            return _with(reply, reason=fault)
        try:
            ask.shape.read(reply.text)
        except BadAnswer as misfit:
            reply = _with(reply, reason=misfit.message)
            conversation += _again(reply)
        else:
            return _with(reply, reason="")
    return reply


async def _chat(
    client: GatewayClient, ask: Ask, messages: Sequence[Message]
) -> tuple[Mapping[str, Any], float]:
    body = ask.body(messages)
    answered: tuple[Mapping[str, Any], float] = await patiently(
        lambda: client.chat(body), patience_s=ask.patience_s
    )
    return answered


def _incomplete(raw: Mapping[str, Any], num_ctx: int) -> str:
    if raw.get("done_reason") == "length":
        return f"The answer was cut after {raw.get('eval_count', '?')} tokens (done_reason length)."
    if not raw.get("done"):
        return "The answer ended before it was done."
    if int(raw.get("prompt_eval_count") or 0) >= num_ctx:
        return f"The prompt fills the context of {num_ctx} tokens: it may have been cut."
    return ""


def _again(reply: Reply) -> list[Message]:
    demand = f"That does not fit: {reply.reason} Answer again, with the corrected answer only."
    return [
        {"role": "assistant", "content": reply.text},
        {"role": "user", "content": demand},
    ]


def _content(raw: Mapping[str, Any]) -> str:
    return str((raw.get("message") or {}).get("content") or "")


def _counted(reply: Reply, raw: Mapping[str, Any], seconds: float) -> Reply:
    return _with(
        reply,
        model=str(raw.get("model") or ""),
        tokens_in=reply.tokens_in + int(raw.get("prompt_eval_count") or 0),
        tokens_out=reply.tokens_out + int(raw.get("eval_count") or 0),
        seconds=reply.seconds + seconds,
    )


def _with(reply: Reply, **changes: Any) -> Reply:
    return Reply(**{**vars(reply), **changes})
