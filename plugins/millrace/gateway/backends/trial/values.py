"""One value of a kind out of the evidence: strings, numbers, choices, flags, lists."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from millrace.gateway.backends.trial.evidence import Evidence
from millrace.gateway.backends.trial.items import field_value, identifier, text_identifier, title
from millrace.gateway.backends.trial.reading import cut, numbers, overlap, sentences, spoken, stems
from millrace.gateway.backends.trial.wishes import price

_ID_NAMES = frozenset(
    {"id", "sku", "code", "ref", "reference", "asin", "isbn", "key", "identifier"}
)
_TITLE_NAMES = frozenset({"name", "title", "product", "item", "label", "heading", "subject"})
_REASON_NAMES = frozenset(
    [
        "reason",
        "reasons",
        "why",
        "explanation",
        "summary",
        "justification",
        "rationale",
        "evidence",
        "quote",
        "answer",
        "description",
        "details",
        "text",
        "comment",
    ]
)
_CERTAINTY_NAMES = frozenset({"confidence", "certainty", "probability", "likelihood"})
_LEVELS = ("very low", "low", "medium", "high", "very high")
_LEVEL_WORDS = {
    "moderate": "medium",
    "middle": "medium",
    "none": "very low",
    "certain": "very high",
}
_PRICE_NAMES = frozenset({"price", "cost", "amount", "eur", "usd"})
_FORMATS = {
    "date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b"),
    "date-time": re.compile(
        r"\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})"
    ),
    "time": re.compile(r"\b\d{2}:\d{2}(?::\d{2})?\b"),
    "email": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "uri": re.compile(r"\bhttps?://[^\s<>\"']+"),
    "uuid": re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE),
}
FLAG_LIKENESS = 0.35


def strings(evidence: Evidence, schema: Mapping[str, Any], name: str) -> Iterator[str]:
    """Candidates for a string field, the most fitting first; each within maxLength."""
    limit = schema.get("maxLength", 1000)
    if pattern := _FORMATS.get(schema.get("format", "")):
        texts = (field_value(evidence.item.text, name), evidence.item.text, evidence.question)
        yield from (match[0] for text in texts for match in pattern.finditer(text))
        return
    quotes = evidence.quotes(_about(name, schema))
    yield from (cut(text, limit) for text in (*_named(evidence, name), *quotes) if text)
    # A quote that is too short for minLength is lengthened, at last by the other items.
    every = [*quotes, *(ranked.item.text for ranked in evidence.ranked)]
    yield from (cut(" ".join(every[:n]), limit) for n in range(2, len(every) + 1))
    if "pattern" in schema:
        yield from (m[0] for m in re.finditer(schema["pattern"].strip("^$"), evidence.item.text))


def is_mentioned(evidence: Evidence, name: str) -> bool:
    """Whether the item says anything that belongs into a field of that name."""
    last = _last_word(name)
    known = _ID_NAMES | _TITLE_NAMES | _REASON_NAMES | _CERTAINTY_NAMES
    return last in known or overlap(stems(spoken(name)), evidence.item.text) > 0


def number(evidence: Evidence, schema: Mapping[str, Any], name: str) -> float | int:
    """The number a field means: from its own label, near its name, or the bounds' own."""
    is_whole = schema.get("type") == "integer"
    low, high = _bounds(schema)
    if _last_word(name) in _CERTAINTY_NAMES:
        found = _scaled(evidence.certainty, low, high)
    else:
        candidates = _numbers_for(evidence, name)
        fits = [n for n in candidates if low <= n <= high and (not is_whole or n == int(n))]
        found = (fits or candidates or [0.0])[0]
    step = schema.get("multipleOf") or (1 if is_whole else 0)
    return _inside(found, low, high, step, is_whole)


def option(evidence: Evidence, options: Sequence[Any], name: str, description: str) -> Any:
    """One of the options: by certainty, by the item's own field, by its words, by likeness."""
    if len(options) == 1:
        return options[0]
    levels = [_level(str(o)) for o in options]
    if _last_word(name) in _CERTAINTY_NAMES and None not in levels:
        return _graded(evidence.certainty, options, [level or 0 for level in levels])
    own = spoken(field_value(evidence.item.text, name)) if name else ""
    named = [o for o in options if own and spoken(str(o)) in (own, own.rstrip("s"))]
    if named:
        return named[0]
    return options[evidence.choose([str(o) for o in options], description or spoken(name))]


def options(
    evidence: Evidence, choices: Sequence[Any], name: str, least: int, most: int
) -> list[Any]:
    """The options the item speaks of, at least `least` of them, best first."""
    text = evidence.item.text
    likeness = evidence.similarity.to(text, [f"{spoken(name)} {spoken(str(c))}" for c in choices])
    score = [
        float(x) + overlap(stems(spoken(str(c))), text)
        for x, c in zip(likeness, choices, strict=True)
    ]
    order = sorted(range(len(choices)), key=lambda i: (-score[i], i))
    spoken_of = [i for i in order if score[i] >= 1]
    return [choices[i] for i in (spoken_of if len(spoken_of) >= least else order[:least])[:most]]


def flag(evidence: Evidence, name: str, description: str) -> bool:
    """Whether the item affirms what the field names."""
    text = evidence.item.text
    own = field_value(text, name).lower()
    if own in ("yes", "true", "1", "ja", "y"):
        return True
    if own in ("no", "false", "0", "nein", "n"):
        return False
    wanted = stems(spoken(name).removeprefix("is ").removeprefix("has "))
    for sentence in sentences(text):
        if wanted and overlap(wanted, sentence) == 1:
            return not re.search(r"\b(?:not|no|without|never|non)\b", sentence, re.IGNORECASE)
    about = description or spoken(name)
    return bool(float(evidence.similarity.to(about, evidence.quotes(about)[:1])[0]) > FLAG_LIKENESS)


def listed(evidence: Evidence, name: str) -> list[str]:
    """A list of strings: the item's own "Label: a, b, c", ids of the items, or its quotes."""
    if own := field_value(evidence.item.text, name):
        return [part.strip() for part in re.split(r",\s*|\s+and\s+", own) if part.strip()]
    singular = spoken(name).split()[-1:] or [""]
    if singular[0].removesuffix("s") in _ID_NAMES:
        return list(dict.fromkeys(identifier(ranked.item) for ranked in evidence.ranked))
    return evidence.quotes(spoken(name))


def _named(evidence: Evidence, name: str) -> Iterator[str]:
    """What a field's name alone says it should be."""
    last, owner = _last_word(name), " ".join(spoken(name).split()[:-1])
    if last in _ID_NAMES:
        if owner and any(owner in section for section in evidence.prompt.sections):
            yield text_identifier(evidence.question)
        yield identifier(evidence.item)
    elif last in _TITLE_NAMES and not field_value(evidence.item.text, name):
        yield title(evidence.item)
    if last not in _REASON_NAMES:
        yield field_value(evidence.item.text, name)


def _about(name: str, schema: Mapping[str, Any]) -> str:
    about = "" if _last_word(name) in _REASON_NAMES else spoken(name)
    return f"{about} {schema.get('description', '')}".strip()


def _numbers_for(evidence: Evidence, name: str) -> list[float]:
    text = evidence.item.text
    own = numbers(field_value(text, name))
    if set(spoken(name).split()) & _PRICE_NAMES and (cost := price(text)) is not None:
        own = [*own, cost]
    near = [s for s in sentences(text) if stems(spoken(name)) & stems(s)]
    every = [n for s in (*near, *evidence.quotes(spoken(name)), text) for n in numbers(s)]
    return [*own, *every]


def _bounds(schema: Mapping[str, Any]) -> tuple[float, float]:
    is_whole = schema.get("type") == "integer"
    step = 1.0 if is_whole else 1e-6
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + step)
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - step)
    return low, high


def _scaled(share: float, low: float, high: float) -> float:
    bottom, top = (0.0 if math.isinf(low) else low), (1.0 if math.isinf(high) else high)
    return round(bottom + share * (top - bottom), 2)


def _inside(value: float, low: float, high: float, step: float, is_whole: bool) -> float | int:
    value = min(max(value, low), high)
    if step:
        value = math.ceil(value / step - 1e-9) * step
        value = value - step if value > high else value
    return round(value) if is_whole else value


def _graded(share: float, options: Sequence[Any], levels: Sequence[int]) -> Any:
    wanted = 1 + share * 2  # among low (1), medium (2), high (3)
    return min(zip(options, levels, strict=True), key=lambda pair: abs(pair[1] - wanted))[0]


def _level(option: str) -> int | None:
    word = spoken(option)
    word = _LEVEL_WORDS.get(word, word)
    return _LEVELS.index(word) if word in _LEVELS else None


def _last_word(name: str) -> str:
    parts = spoken(name).split()
    return parts[-1] if parts else ""
