"""What a context item says of itself: its identifier, its title, its named fields."""

from __future__ import annotations

import re

from millrace.gateway.backends.trial.prompt import Item
from millrace.gateway.backends.trial.reading import cut, sentences, spoken, stems
from millrace.gateway.backends.trial.wishes import price

_FIELD = re.compile(
    r"(?:^|(?<=[.;|\n])[ \t]*)(?P<label>[^\W\d_][\w /()'-]{0,40}?)[ \t]*:[ \t]+"
    r"(?P<value>[^\n|;]+?)(?=[.!?](?:\s|$)|;|\n|\||$)",
    re.MULTILINE,
)
_ID_LIKE = re.compile(r"^(?=[^\s]*\d)[A-Za-z0-9][\w./:-]*$")
_ID_IN_TEXT = re.compile(r"\b(?:[A-Z]{1,6}[-_]\d+[\w-]*|[A-Z]{1,4}\d{2,}[\w-]*)\b")
_TITLE_END = re.compile(r"[.!?](?:\s|$)|\s[-\u2013\u2014|]\s|[:\n|(]|\s*;")
_TITLE_LABELS = ("name", "title", "product", "product name", "headline")
_ID_LABELS = ("id", "sku", "code", "number", "article number", "ref")
TITLE_LENGTH = 120


def named_fields(text: str) -> dict[str, str]:
    """The "Label: value" pairs of a text: label as spoken -> value."""
    return {spoken(m["label"]): m["value"].strip(" *") for m in _FIELD.finditer(text)}


def field_value(text: str, name: str) -> str:
    """The value of the field a schema's name means; "" where the text names none."""
    found = named_fields(text)
    wanted = spoken(name)
    if wanted in found:
        return found[wanted]
    ask = stems(wanted)
    fits = [
        v for label, v in found.items() if (have := stems(label)) and (have <= ask or ask <= have)
    ]
    return fits[0] if ask and fits else ""


def title(item: Item) -> str:
    """What the item is called: its name field, else what stands before the first full stop."""
    fields = named_fields(item.text)
    if named := next((fields[label] for label in _TITLE_LABELS if label in fields), ""):
        return named
    head = _TITLE_END.split(item.text.strip(" *#\t\n"), maxsplit=1)[0].strip(" *#\"'")
    return cut(head or item.text.strip(), TITLE_LENGTH)


def identifier(item: Item) -> str:
    """The item's id: its own mark if that looks like one, an id field, a token like `AB-12`."""
    fields = named_fields(item.text)
    labelled = next(
        (v for k, v in fields.items() if k in _ID_LABELS or k.split()[-1] in ("id", "sku", "code")),
        "",
    )
    if _ID_LIKE.match(item.mark) and not item.mark.isdigit():
        return item.mark
    token = _ID_IN_TEXT.search(item.text)
    return labelled or (token[0] if token else item.mark)


def text_identifier(text: str) -> str:
    """A token like an id in running text; "" where there is none."""
    token = _ID_IN_TEXT.search(text)
    return token[0] if token else ""


def item_price(item: Item) -> float | None:
    """What the item costs, as far as it says so."""
    return price(item.text, field_value(item.text, "price"))


def telling_sentences(item: Item) -> list[str]:
    """The item's sentences that are more than a title or a field; all, if none is."""
    every = sentences(item.text)
    telling = [s for s in every if len(s.split()) > 3 and not _is_heading(s) and not _is_field(s)]
    return telling or every or [item.text]


def _is_heading(sentence: str) -> bool:
    """Whether most of its words are capitalised, as in a title."""
    long = [word for word in sentence.split() if len(word) > 3 and word[0].isalpha()]
    return len(sentence.split()) <= 8 and 2 * sum(word[0].isupper() for word in long) > len(long)


def _is_field(sentence: str) -> bool:
    match = _FIELD.match(sentence)
    return bool(match and match.end() >= len(sentence) - 1)
