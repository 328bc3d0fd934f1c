"""What a prompt consists of: instructions, context items to quote from, and the question.

Sections are told by their headings ("Products:", "## Context", "<documents>"); without any,
the blocks that look like list items are the context and the rest is the question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from millrace.gateway.backends.trial.reading import sentences

_CONTEXT = (
    r"context|documents?|passages?|sources?|catalog(?:ue)?|products|items|articles|candidates|options"
    r"|chunks|excerpts|search results|results|knowledge|information|references?|guide|advice|notes"
    r"|background|data|tickets|reviews|records|facts|choices|offers|books|courses|recipes|places"
)
_QUESTION = (
    r"question|query|user|task|customer|ticket|request|needs|email|e-mail|message|review|text|input"
    r"|enquiry|inquiry|complaint|comment|shopper|client|person|reader|patient|applicant|wish|order"
)
_HEADING = re.compile(
    rf"^[ \t]*(?:\#{{1,6}}[ \t]*|\*\*|<)?(?P<label>(?:[\w'-]+[ \t]){{0,3}}?(?:(?P<context>{_CONTEXT})"
    rf"|(?P<question>{_QUESTION}))(?:[ \t](?:profile|needs|description|text|message|request|wishes"
    rf"|says|wrote|writes|asks|question|found|excerpts|data|items|list|\([^)\n]{{0,60}}\)))?)"
    rf"[ \t]*(?::(?:\*\*)?[ \t]*|\*\*:?[ \t]*$|>[ \t]*|(?<=\#\#)$)",
    re.IGNORECASE | re.MULTILINE,
)
_MARKDOWN = re.compile(r"^(#{1,6}[ \t]+[^\n:]{1,60})$", re.MULTILINE)
_CLOSING_TAG = re.compile(r"^[ \t]*</[\w-]+>[ \t]*$", re.MULTILINE)
_MARKED = re.compile(
    r"^[ \t]*(?:[-*•][ \t]+|\d{1,3}[.)][ \t]+)?\[(?P<mark>[^\]\n]{1,60})\]", re.MULTILINE
)
_NUMBERED = re.compile(r"^[ \t]*(?P<mark>\d{1,3})[.)][ \t]+", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*[-*•][ \t]+", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*[-=*_]{3,}[ \t]*$", re.MULTILINE)
_LIST_END = re.compile(r"\n\s*\n(?!\s*(?:\[|\d{1,3}[.)]|[-*•]))")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing the context tells of; `mark` is how it is cited."""

    text: str
    mark: str
    section: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in its parts."""

    question: str
    items: tuple[Item, ...] = ()
    instructions: str = ""
    sections: tuple[str, ...] = field(default=())
    """The headings of its questions, lower case."""


def read_prompt(text: str) -> Prompt:
    """Take a prompt apart."""
    text = _CLOSING_TAG.sub("", _MARKDOWN.sub(r"\1:", text.replace("\r\n", "\n")))
    heads = list(_HEADING.finditer(text))
    parts = [text[: heads[0].start()] if heads else text, *_bodies(text, heads)]
    context = [(h, body) for h, body in zip(heads, parts[1:], strict=True) if h["context"]]
    asked = [(h, body) for h, body in zip(heads, parts[1:], strict=True) if h["question"]]
    if context and not asked:
        # A question may stand before its context, or as the last paragraph below it.
        return _with_question_outside(parts[0], context)
    if not context and not asked:
        return _unlabelled(text)
    return Prompt(
        question="\n".join(body for _, body in asked),
        items=_numbered(context) if context else _list_items(parts[0])[0],
        instructions=parts[0],
        sections=tuple(head["label"].lower() for head, _ in asked),
    )


def _bodies(text: str, heads: list[re.Match[str]]) -> Iterator[str]:
    ends = [*(head.start() for head in heads[1:]), len(text)]
    for head, end in zip(heads, ends[: len(heads)], strict=True):
        yield text[head.end() : end].strip()


def _numbered(context: list[tuple[re.Match[str], str]]) -> tuple[Item, ...]:
    found = [
        (mark, text, head["label"].lower()) for head, body in context for mark, text in blocks(body)
    ]
    return tuple(Item(t, mark or str(i), s) for i, (mark, t, s) in enumerate(found, start=1))


def _with_question_outside(before: str, context: list[tuple[re.Match[str], str]]) -> Prompt:
    head, body = context[-1]
    paragraphs = re.split(r"\n\s*\n", body)
    asks = [p for p in paragraphs[1:] if p.rstrip().endswith("?")]
    question = asks[-1] if asks else before
    rest = "\n\n".join(p for p in paragraphs if p not in asks)
    return Prompt(question, _numbered([*context[:-1], (head, rest)]), before)


def _unlabelled(text: str) -> Prompt:
    items, rest = _list_items(text)
    if items:
        return Prompt(rest, items)
    asks = [sentence for sentence in sentences(text) if sentence.endswith("?")]
    if not asks or len(asks) == len(sentences(text)):
        return Prompt(text)
    paragraphs = [p for p in re.split(r"\n\s*\n", text) if p.strip() not in asks]
    return Prompt(asks[-1], _marked(block for p in paragraphs for block in blocks(p)))


def _list_items(text: str) -> tuple[tuple[Item, ...], str]:
    """The items of the list in a text, and the text without the list."""
    for pattern in (_MARKED, _NUMBERED, _BULLET):
        starts = [match.start() for match in pattern.finditer(text)]
        if len(starts) >= 2:
            stop = _LIST_END.search(text, starts[-1])
            end = stop.start() if stop else len(text)
            rest = f"{text[: starts[0]]}\n{text[end:]}".strip()
            return _marked(blocks(text[starts[0] : end])), rest
    return (), text


def _marked(found: Iterable[tuple[str, str]]) -> tuple[Item, ...]:
    """Blocks as items; what has no mark of its own is counted."""
    return tuple(Item(text, mark or str(i)) for i, (mark, text) in enumerate(found, start=1))


def blocks(text: str) -> list[tuple[str, str]]:
    """The items of a context: (their own mark or "", their text without it)."""
    if records := _json_records(text):
        return [("", record) for record in records]
    if _MARKED.search(text):
        return _split_at(_MARKED, text)
    for pattern in (_NUMBERED, _RULE):
        if len(pattern.findall(text)) >= 2:
            return _split_at(pattern, text)
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", text) if p.strip()]
    if len(paragraphs) < 2 and len(_BULLET.findall(text)) >= 2:
        return _split_at(_BULLET, text)
    return [("", paragraph) for paragraph in paragraphs]


def _split_at(pattern: re.Pattern[str], text: str) -> list[tuple[str, str]]:
    starts = list(pattern.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return [
        (str(m.groupdict().get("mark") or ""), body)
        for m, end in zip(starts, ends, strict=True)
        if (body := text[m.end() : end].strip())
    ]


def _json_records(text: str) -> list[str]:
    """A JSON array of objects, or one object a line, as "key: value" lines each."""
    try:
        found = (
            json.loads(text) if text.startswith("[") else [json.loads(s) for s in text.splitlines()]
        )
    except ValueError:
        return []
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        return []
    return ["\n".join(f"{key}: {value}" for key, value in record.items()) for record in found]
