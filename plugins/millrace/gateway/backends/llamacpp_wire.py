"""llama.cpp's JSON (tools/server/README.md): what is asked and what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any

from millrace.errors import RequestRefused
from millrace.gateway.backends.base import Ask, Done

SAMPLING = (
    *("temperature", "top_k", "top_p", "min_p", "seed"),
    *("repeat_penalty", "presence_penalty", "frequency_penalty"),
)
"""The options that llama.cpp has under the same names."""


def body(ask: Ask, max_tokens: int) -> dict[str, Any]:
    """The request for a streamed answer of at most max_tokens; -1: as long as it gets."""
    given = ask.sampling
    found: dict[str, Any] = {
        name: value for name in SAMPLING if (value := getattr(given, name)) is not None
    }
    found |= {"stop": given.stop} if given.stop else {}
    found |= {"grammar": _grammar(ask.format)} if ask.format is not None else {}
    streaming = {"stream": True, "stream_options": {"include_usage": True}}
    return {**found, **prompt(ask), "max_tokens": max_tokens, **streaming}


def prompt(ask: Ask) -> dict[str, Any]:
    """The messages, or the bare text of a raw request."""
    if ask.raw:
        return {"prompt": "".join(message.content for message in ask.messages)}
    return {"messages": [{"role": m.role, "content": m.content} for m in ask.messages]}


def _grammar(schema: str | Mapping[str, Any]) -> str:
    import xllamacpp

    wanted = {"type": "object"} if isinstance(schema, str) else dict(schema)
    try:
        return str(xllamacpp.json_schema_to_grammar(wanted))
    except (RuntimeError, ValueError, TypeError) as error:
        raise RequestRefused("format is not a JSON schema llama.cpp understands.") from error


def done(reason: str, usage: Mapping[str, Any], timings: Mapping[str, Any], started: int) -> Done:
    """How it ended: llama.cpp's usage and timings, and the clock since `started`."""
    return Done(
        reason=reason or "stop",
        prompt_tokens=usage["prompt_tokens"],
        answer_tokens=usage["completion_tokens"],
        total_ns=perf_counter_ns() - started,
        prompt_ns=int(timings.get("prompt_ms", 0) * 1e6),
        answer_ns=int(timings.get("predicted_ms", 0) * 1e6),
    )
