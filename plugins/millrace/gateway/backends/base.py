"""The port between doors and backends: what is asked, what is answered, who can answer.

A door turns its own wire format into an Ask; a backend answers with Pieces, the last of which
is Done. Times are nanoseconds, as in the Ollama API.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

State = Literal["ready", "loading", "down", "absent"]
"""absent: not there, and not asked for either."""
Capability = Literal["completion", "embedding"]
DoneReason = Literal["stop", "length", "load", "unload"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """The options that every backend honours; None is the backend's own default."""

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
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for text. `body` is the same in the Ollama API's words, for who speaks them."""

    kind: Literal["chat", "generate"]
    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    format: Literal["json"] | Mapping[str, Any] | None = None
    raw: bool = False
    needs: frozenset[str] = frozenset()
    """What only some backends can do: images, tools, thinking, suffix, template, context."""
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked: the Ollama API then only loads the model."""
        return not any(message.content for message in self.messages)


@dataclass(frozen=True, slots=True)
class Done:
    """How an answer ended, and what it cost."""

    reason: str
    prompt_tokens: int = 0
    answer_tokens: int = 0
    total_ns: int = 0
    load_ns: int = 0
    prompt_ns: int = 0
    answer_ns: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer; `extra` holds further fields of the message (thinking, tool_calls)."""

    text: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    done: Done | None = None


@dataclass(frozen=True, slots=True)
class EmbedAsk:
    """A request for the vectors of texts; truncate: cut a text that is too long."""

    model: str
    texts: tuple[str, ...]
    truncate: bool = True
    dimensions: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Embedded:
    """One unit-length vector per text, in their order."""

    vectors: Sequence[Sequence[float]]
    prompt_tokens: int = 0
    total_ns: int = 0
    load_ns: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A model a backend can serve; `details` as in the Ollama API's list."""

    name: str
    capabilities: frozenset[Capability]
    size_bytes: int = 0
    digest: str = ""
    modified_at: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a backend can answer now, and if not, why."""

    state: State
    message: str = ""


class Backend(Protocol):
    """Something that answers. Every error it raises is a ModelError."""

    name: str
    slots: int
    """How many requests it may work on at once."""

    async def start(self) -> None:
        """Begin to make it ready; returns at once, loading goes on in the background."""

    async def close(self) -> None:
        """Let go of everything it holds."""

    async def loaded(self) -> None:
        """Wait until it no longer loads, whether that went well or not."""

    async def health(self) -> Health:
        """Its state, from memory or within two seconds."""

    async def models(self) -> Sequence[Model]:
        """What it serves; empty while it is not ready."""

    async def show(self, model: Model) -> Mapping[str, Any]:
        """A model's page (POST /api/show of the Ollama API)."""

    def answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """The answer, piece by piece; the last has `done`. Closing it early stops the work.

        It never ends without that last piece: an answer that breaks off raises instead.
        """

    async def embed(self, ask: EmbedAsk) -> Embedded:
        """The vectors of the texts."""
