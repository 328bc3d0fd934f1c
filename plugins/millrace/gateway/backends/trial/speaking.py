"""The trial model's free answer: quotes with their marks, or that it has nothing to quote."""

from __future__ import annotations

from millrace.gateway.backends.trial.evidence import Evidence
from millrace.gateway.backends.trial.items import telling_sentences
from millrace.gateway.backends.trial.prompt import Item
from millrace.gateway.backends.trial.reading import overlap, stems

NO_CONTEXT = (
    "I am millrace-trial, the built-in trial model. I am not a language model: I can only quote "
    "the context that a prompt supplies, and this one supplies none."
)
NO_ANSWER = (
    "I am millrace-trial and can only quote; no passage of the supplied context answers this."
)
QUOTES = 3
LEAST_COSINE = 0.3
LEAST_SHARE = 0.6
"""A quote scores at least this share of the best one."""
ALIKE = 0.9
"""Two quotes more alike than this say the same."""


def free_answer(evidence: Evidence) -> str:
    """Up to three sentences of the context, each with the mark of its item."""
    if not evidence.prompt.items:
        return NO_CONTEXT
    quotes = _quotes(
        evidence, [(r.item, s) for r in evidence.ranked for s in telling_sentences(r.item)]
    )
    return " ".join(f'"{sentence}" [{item.mark}]' for item, sentence in quotes) or NO_ANSWER


def _quotes(evidence: Evidence, said: list[tuple[Item, str]]) -> list[tuple[Item, str]]:
    texts = [sentence for _, sentence in said]
    vectors = evidence.similarity.vectors(texts)
    cosines = evidence.similarity.to(evidence.question, texts)
    asked = stems(evidence.question)
    scores = [
        float(c) + 0.35 * overlap(asked, text) for c, text in zip(cosines, texts, strict=True)
    ]
    picked: list[int] = []
    for i in sorted(range(len(said)), key=lambda i: (-scores[i], i)):
        if cosines[i] < LEAST_COSINE or scores[i] < LEAST_SHARE * max(scores):
            continue
        if len(picked) < QUOTES and all(float(vectors[i] @ vectors[j]) < ALIKE for j in picked):
            picked.append(i)
    return [said[i] for i in picked]
