"""What a question rules out: things not wanted, and prices out of reach."""

from __future__ import annotations

import re
from dataclasses import dataclass

from millrace.gateway.backends.trial.reading import STOP_WORDS, numbers, stem, stems, words

_CURRENCY = r"(?:€|\$|£|\b(?:eur|euros?|usd|dollars?|gbp|pounds?|chf|francs?)\b)"
_AMOUNT = r"\d[\d,]*(?:\.\d+)?"
_MONEY = re.compile(rf"{_CURRENCY}\s?{_AMOUNT}|{_AMOUNT}\s?{_CURRENCY}", re.IGNORECASE)
_FLOOR = re.compile(
    r"(?:\bat least|(?<!no )(?<!not )\bmore than|\bover|\babove|\bstarting (?:at|from))\s*$", re.I
)
_RANGE_START = re.compile(
    rf"\b(?:between|from)\s+{_AMOUNT}\s*(?:and|to|-|\u2013)\s*$", re.IGNORECASE
)
_CUE = re.compile(
    r"(?:\b(?:no|without|nothing (?:with|made of|made from|of|from|containing)|free (?:of|from)"
    r"|avoid(?:s|ing)?|hates?|dislikes?|allergic to|allergy to|cannot stand|can['\u2019]t stand"
    r"|(?:do|does)(?: not|n['\u2019]t) (?:want|like|wear|use|eat|drink)|rather than|instead of|except"
    r"|anything but|neither|nor|done with|tired of|fed up with)\b"
    r"|(?:^|[,;(\u2013\u2014]|\band|\bbut)\s*not\b)"
    r"(?P<things>[^.,;:!?()\u2013\u2014]{1,60})",
    re.IGNORECASE | re.MULTILINE,
)
_NOT_A_THING = frozenset(
    [
        "more",
        "less",
        "matter",
        "doubt",
        "idea",
        "money",
        "time",
        "way",
        "longer",
        "problem",
        "need",
        "wonder",
        "question",
        "sure",
        "only",
        "just",
        "too",
        "so",
        "very",
        "necessarily",
        "always",
        "yet",
        "rush",
        "hurry",
        "later",
        "least",
    ]
)
_IMPLIED = {
    "vegan": ("down", "feather", "wool", "merino", "leather", "silk", "fur", "cashmere", "beeswax"),
    "vegetarian": ("meat", "beef", "pork", "chicken", "fish"),
    "feather": ("down",),
}
_DENIAL = re.compile(
    r"(?:\b(?:no|not|without|never|free of|instead of|rather than|non|replaces?|nor)\b[^.;,]{0,24}$)",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"(?:\b(?:not|never|cannot)|n['\u2019]t)\b", re.IGNORECASE)
_BREAK = re.compile(
    r"\b(?:but|and|because|so|since|which|that|if|when|while|please)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """A question, taken apart."""

    wanted: str
    """The question without what it rules out and without sums of money."""
    unwanted: frozenset[str] = frozenset()
    """Stems of things it rules out."""
    ceiling: float | None = None
    floor: float | None = None

    def affordable(self, price: float | None) -> bool:
        """Whether a price lies within what the question names; an unknown price does."""
        if price is None:
            return True
        above = self.ceiling is not None and price > self.ceiling * 1.01
        return not above and not (self.floor is not None and price < self.floor * 0.99)

    def offences(self, text: str) -> int:
        """How many unwanted things the text says it has."""
        return sum(_mentions(text, thing) == {True} for thing in self.unwanted)

    def agreements(self, text: str) -> int:
        """How many unwanted things the text rules out as well."""
        return sum(_mentions(text, thing) == {False} for thing in self.unwanted)


def read_wishes(question: str) -> Wishes:
    """Take a question apart."""
    unwanted = {thing for match in _CUE.finditer(question) for thing in _things(match)}
    for word in stems(question) | unwanted:
        unwanted |= {stem(implied) for implied in _IMPLIED.get(word, ())}
    ceilings, floors = _limits(question)
    return Wishes(
        wanted=_without(question),
        unwanted=frozenset(unwanted),
        ceiling=max(ceilings, default=None),
        floor=max(floors, default=None),
    )


def price(text: str, named: str = "") -> float | None:
    """The price in a text: of its field `named`, else the first sum of money."""
    source = named or next(iter(_MONEY.findall(text)), "")
    return next(iter(numbers(source)), None)


def _limits(question: str) -> tuple[list[float], list[float]]:
    ceilings: list[float] = []
    floors: list[float] = []
    for match in _MONEY.finditer(question):
        before = question[max(0, match.start() - 40) : match.start()]
        amount = numbers(match[0])[0]
        if _FLOOR.search(before) and not _RANGE_START.search(before):
            floors.append(amount)
        elif re.search(r"\b(?:about|around|roughly|approximately|circa|ca\.?)\s*$", before, re.I):
            ceilings.append(amount * 1.15)
        else:
            ceilings.append(amount)
    return ceilings, floors


def _things(cue: re.Match[str]) -> set[str]:
    """What a cue rules out: "no wool or leather" names two; "not without poles" names nothing."""
    clause = re.split(r"[.;:!?]", cue.string[: cue.start()])[-1]
    head = _BREAK.split(cue["things"], maxsplit=1)[0]
    telling = [word for word in words(head) if word not in STOP_WORDS and not word.isdigit()]
    is_thing = telling and telling[0] not in _NOT_A_THING and not telling[0].endswith("ing")
    if not is_thing or _NEGATION.search(clause) or head.lstrip().startswith("to "):
        return set()
    return {stem(word) for word in telling[:3]}


def _without(question: str) -> str:
    kept = _CUE.sub(lambda cue: " " if _things(cue) else cue[0], question)
    return re.sub(r"\s+", " ", _MONEY.sub(" ", kept)).strip() or question


def _mentions(text: str, thing: str) -> set[bool]:
    """How the text speaks of a thing: True where it has it, False where it denies it."""
    found = (m for m in re.finditer(r"[^\W_]+", text) if stem(m[0].lower()) == thing)
    return {not _is_denied(text, match) for match in found}


def _is_denied(text: str, word: re.Match[str]) -> bool:
    after = text[word.end() : word.end() + 6].lower()
    return bool(_DENIAL.search(text[: word.start()])) or after.startswith(("-free", " free"))
