"""The Ollama API's JSON: requests turned into what a backend is asked, answers turned back.

Field by field after Ollama's docs/api.md (chat, generate, embed, tags, show).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from millrace.errors import RequestRefused
from millrace.gateway.backends.base import (
    Ask,
    Done,
    EmbedAsk,
    Embedded,
    Message,
    Model,
    Piece,
    Sampling,
)

Body = TypeVar("Body", bound=msgspec.Struct)


class MessageBody(msgspec.Struct):
    """One message of a chat request."""

    role: str
    content: str | None = None
    images: list[Any] | None = None


class SamplingBody(msgspec.Struct):
    """The options read here; others pass to backends that know them."""

    num_ctx: int | None = None
    num_predict: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: list[str] | str | None = None


class AskBody(msgspec.Struct):
    """What chat and generate have in common."""

    model: str = ""
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: SamplingBody | None = None
    think: bool | str | None = None
    tools: list[Any] | None = None
    images: list[Any] | None = None


class ChatBody(AskBody):
    """POST /api/chat."""

    messages: list[MessageBody] = []


class GenerateBody(AskBody):
    """POST /api/generate."""

    prompt: str | None = None
    system: str | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = None


class EmbedBody(msgspec.Struct):
    """POST /api/embed."""

    input: str | list[str]
    model: str = ""
    truncate: bool | None = None
    dimensions: int | None = None


class ShowBody(msgspec.Struct):
    """POST /api/show; `name` is the older spelling."""

    model: str = ""
    name: str = ""


def read(raw: bytes, kind: type[Body]) -> tuple[Body, dict[str, Any]]:
    """The body as its type and as it came; RequestRefused says which field does not fit."""
    try:
        given = msgspec.json.decode(raw, type=dict[str, Any])
        return msgspec.convert(given, kind), given
    except RecursionError as error:
        raise RequestRefused("The request is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(f"The request is not what the API expects: {error}.") from error


def chat_ask(body: ChatBody, given: Mapping[str, Any]) -> Ask:
    """What a chat request asks."""
    images = any(message.images for message in body.messages)
    return Ask(
        kind="chat",
        model=body.model,
        messages=tuple(Message(m.role, m.content or "") for m in body.messages),
        sampling=_sampling(body.options),
        format=_format(body.format),
        needs=_needs(images=images, tools=body.tools, thinking=body.think),
        body=given,
    )


def generate_ask(body: GenerateBody, given: Mapping[str, Any]) -> Ask:
    """What a generate request asks: its system and prompt as two messages."""
    turns = (("system", "" if body.raw else body.system), ("user", body.prompt))
    return Ask(
        kind="generate",
        model=body.model,
        messages=tuple(Message(role, text) for role, text in turns if text),
        sampling=_sampling(body.options),
        format=_format(body.format),
        raw=bool(body.raw),
        needs=_needs(
            images=body.images,
            thinking=body.think,
            suffix=body.suffix,
            template=body.template,
            context=body.context,
        ),
        body=given,
    )


def embed_ask(body: EmbedBody, given: Mapping[str, Any]) -> EmbedAsk:
    """What an embed request asks."""
    texts = (body.input,) if isinstance(body.input, str) else tuple(body.input)
    if body.dimensions is not None and body.dimensions < 1:
        raise RequestRefused("dimensions must be 1 or more.")
    return EmbedAsk(body.model, texts, body.truncate is not False, body.dimensions, given)


def piece_line(ask: Ask, piece: Piece) -> dict[str, Any]:
    """A piece as a line of a streaming answer; the last one also carries the counts."""
    line: dict[str, Any] = {"model": ask.model, "created_at": now()}
    extra = dict(piece.extra)
    if ask.kind == "chat":
        logprobs = {"logprobs": extra.pop("logprobs")} if "logprobs" in extra else {}
        line |= {"message": {"role": "assistant", "content": piece.text, **extra}, **logprobs}
    else:
        line |= {"response": piece.text, **extra}
    return line | ({"done": False} if piece.done is None else _ending(piece.done))


def whole(pieces: Sequence[Piece]) -> Piece:
    """The pieces of an answer as one: texts joined, lists (tool calls, logprobs) joined."""
    extra: dict[str, Any] = {}
    for piece in pieces:
        for key, value in piece.extra.items():
            joins = key in extra and isinstance(value, str | list)
            extra[key] = extra[key] + value if joins else value
    return Piece("".join(piece.text for piece in pieces), extra, pieces[-1].done)


def embed_answer(model: str, answer: Embedded) -> dict[str, Any]:
    """The answer to an embed request."""
    return {
        "model": model,
        "embeddings": answer.vectors,
        "total_duration": answer.total_ns,
        "load_duration": answer.load_ns,
        "prompt_eval_count": answer.prompt_tokens,
    }


def tag(model: Model) -> dict[str, Any]:
    """A model's entry in the list."""
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": model.modified_at or "1970-01-01T00:00:00Z",
        "size": model.size_bytes,
        "digest": model.digest,
        "details": model.details,
    }


def now() -> str:
    """The present as the API writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _ending(done: Done) -> dict[str, Any]:
    return {
        "done": True,
        "done_reason": done.reason,
        "total_duration": done.total_ns,
        "load_duration": done.load_ns,
        "prompt_eval_count": done.prompt_tokens,
        "prompt_eval_duration": done.prompt_ns,
        "eval_count": done.answer_tokens,
        "eval_duration": done.answer_ns,
    }


def _sampling(options: SamplingBody | None) -> Sampling:
    if options is None:
        return Sampling()
    given = msgspec.structs.asdict(options)
    stop = given.pop("stop") or ()
    return Sampling(**given, stop=(stop,) if isinstance(stop, str) else tuple(stop))


def _format(value: str | dict[str, Any] | None) -> Any:
    if value in (None, "", "json") or isinstance(value, dict):
        return value or None
    raise RequestRefused('format must be "json" or a JSON schema.')


def _needs(**asked: Any) -> frozenset[str]:
    return frozenset(name for name, value in asked.items() if value)
