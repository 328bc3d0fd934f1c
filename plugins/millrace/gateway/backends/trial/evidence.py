"""What an answer may be made of: the items of one prompt in order, and the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from millrace.gateway.backends.trial.choosing import Ranked, certainty, rank
from millrace.gateway.backends.trial.items import telling_sentences
from millrace.gateway.backends.trial.prompt import Item, Prompt
from millrace.gateway.backends.trial.reading import overlap, spoken, stems
from millrace.gateway.backends.trial.similarity import Similarity

SELF_EVIDENT = 0.15
"""A sentence that shares words with the question is lifted by at most this."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The items of a prompt, best first, and which of them is spoken of."""

    similarity: Similarity
    prompt: Prompt
    ranked: Sequence[Ranked]
    place: int = 0

    @property
    def item(self) -> Item:
        """The item spoken of; a prompt without context is its own one."""
        return self.ranked[self.place].item

    @property
    def question(self) -> str:
        """What is asked."""
        return self.prompt.question

    @property
    def certainty(self) -> float:
        """How clearly this item beats those after it: 0 to 1."""
        return certainty(self.ranked[self.place :])

    def at(self, place: int) -> Evidence:
        """The same, speaking of another item."""
        return replace(self, place=place)

    def quotes(self, about: str = "") -> list[str]:
        """The item's telling sentences, the best match to question and field first."""
        found = telling_sentences(self.item)
        wanted = f"{about} {self.question}".strip()
        likeness = self.similarity.to(wanted, found)
        score = [
            float(cosine) + SELF_EVIDENT * overlap(stems(wanted), sentence)
            for cosine, sentence in zip(likeness, found, strict=True)
        ]
        return [found[i] for i in sorted(range(len(found)), key=lambda i: (-score[i], i))]

    def choose(self, options: Sequence[str], about: str) -> int:
        """The place of the option that fits the item best, by its words, else by likeness."""
        text = self.item.text
        named = [
            i
            for i, o in enumerate(options)
            if stems(spoken(o)) and overlap(stems(spoken(o)), text) == 1
        ]
        if len(named) == 1:
            return named[0]
        bare = self.similarity.to(text, [spoken(option) for option in options])
        full = self.similarity.to(text, [f"{about}: {spoken(option)}" for option in options])
        scores = bare + full
        return max(range(len(options)), key=lambda i: (float(scores[i]), -i))


def gather(similarity: Similarity, prompt: Prompt) -> Evidence:
    """Rank the items of a prompt; without any, the question itself is what there is."""
    items = prompt.items or (Item(prompt.question, "1"),)
    return Evidence(similarity, prompt, rank(similarity, prompt.question, items))
