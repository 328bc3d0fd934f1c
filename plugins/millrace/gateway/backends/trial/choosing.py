"""Which context item answers the question best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from millrace.gateway.backends.trial.items import item_price, title
from millrace.gateway.backends.trial.prompt import Item
from millrace.gateway.backends.trial.reading import sentences, stems
from millrace.gateway.backends.trial.similarity import Similarity
from millrace.gateway.backends.trial.wishes import Wishes, read_wishes

LEXICAL = 0.35
"""Weight of shared words, the rarer among the items the heavier."""
ASPECTS = 0.5
"""Weight of how well the item meets the question sentence by sentence."""
TITLE = 0.15
"""Bonus for an item whose title the question speaks of, and for one that shares a refusal."""
OFFENCE = 0.4
"""Taken off for each unwanted thing an item has; a price out of reach costs twice that."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """An item with what speaks for it; `cosine` is the plain similarity to the question."""

    item: Item
    score: float
    cosine: float


def rank(similarity: Similarity, question: str, items: Sequence[Item]) -> list[Ranked]:
    """The items, best first; equal ones in the order of the prompt."""
    if not items:
        return []
    wishes = read_wishes(question)
    texts = [item.text for item in items]
    cosines = similarity.to(wishes.wanted, texts)
    aspects = _aspects(similarity, wishes, texts)
    shared = _shared_words(wishes, texts)
    scores = cosines + ASPECTS * aspects + LEXICAL * shared + _adjustments(wishes, items)
    order = sorted(range(len(items)), key=lambda i: (-float(scores[i]), i))
    return [Ranked(items[i], float(scores[i]), float(cosines[i])) for i in order]


def certainty(ranked: Sequence[Ranked]) -> float:
    """How clearly the first item wins: 0 to 1, from its similarity and its lead."""
    if not ranked:
        return 0.0
    lead = ranked[0].score - ranked[1].score if len(ranked) > 1 else 0.15
    likeness = (ranked[0].cosine - 0.2) / 0.5
    return float(np.clip(0.5 * np.clip(likeness, 0, 1) + 0.5 * min(1.0, lead / 0.2), 0, 1))


def _aspects(similarity: Similarity, wishes: Wishes, texts: Sequence[str]) -> np.ndarray:
    """The mean over the question's sentences of each item's likeness to them."""
    asked = sentences(wishes.wanted)
    vectors = similarity.vectors([*asked, *texts])
    mean: np.ndarray = (vectors[len(asked) :] @ vectors[: len(asked)].T).mean(axis=1)
    return mean


def _shared_words(wishes: Wishes, texts: Sequence[str]) -> np.ndarray:
    """Which share of the question's words each item has, rare words counting more."""
    asked = stems(wishes.wanted)
    have = [stems(text) & asked for text in texts]
    seen = Counter(word for found in have for word in found)
    weight = {word: math.log(1 + len(texts) / count) for word, count in seen.items()}
    total = sum(weight.values()) or 1.0
    return np.array([sum(weight[word] for word in found) / total for found in have])


def _adjustments(wishes: Wishes, items: Sequence[Item]) -> np.ndarray:
    asked = stems(wishes.wanted)
    found = []
    for item in items:
        bonus = TITLE if stems(title(item)) & asked else 0.0
        bonus += TITLE * min(1, wishes.agreements(item.text))
        offences = min(2, wishes.offences(item.text))
        beyond = 0 if wishes.affordable(item_price(item)) else 2
        found.append(bonus - OFFENCE * (offences + beyond))
    return np.array(found)
