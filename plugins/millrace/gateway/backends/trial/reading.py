"""Words, sentences and numbers of plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable

STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "after",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "each",
        "even",
        "for",
        "from",
        "get",
        "give",
        "had",
        "has",
        "have",
        "he",
        "her",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "just",
        "like",
        "looking",
        "make",
        "may",
        "me",
        "more",
        "most",
        "much",
        "my",
        "need",
        "needs",
        "no",
        "not",
        "of",
        "off",
        "on",
        "one",
        "only",
        "or",
        "our",
        "out",
        "over",
        "please",
        "she",
        "should",
        "so",
        "some",
        "something",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "thing",
        "this",
        "those",
        "to",
        "too",
        "up",
        "us",
        "use",
        "very",
        "want",
        "wants",
        "was",
        "we",
        "well",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "will",
        "with",
        "without",
        "would",
        "you",
        "your",
    ]
)
_WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'\u201d)]?\s+(?=[\"'\u201c(\[]?[A-Z0-9À-Þ])")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|approx|incl|etc|vs|no|nr|dr|mr|mrs|ms|st)\.)$", re.I)
_SUFFIXES = ("ings", "ing", "ies", "ied", "edly", "ers", "ed", "es", "er", "ly", "s")
_NUMBER = re.compile(
    r"(?<![\w.])-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\w.])-?\d+(?:[.,]\d{1,2}(?!\d)|\.\d+)?"
)


def words(text: str) -> list[str]:
    """Its words in lower case, hyphenated ones also in their parts."""
    found = [word.lower() for word in _WORD.findall(text)]
    return [part for word in found for part in _with_parts(word)]


def stems(text: str) -> set[str]:
    """What its telling words have in common with their other forms."""
    return {stem(word) for word in words(text) if word not in STOP_WORDS and len(word) > 1}


def stem(word: str) -> str:
    """A word without its commonest English ending."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            root = word.removesuffix(suffix)
            root += "y" if suffix in ("ies", "ied") else ""
            return root[:-1] if len(root) > 3 and root[-1] == root[-2] else root.rstrip("e")
    return word.rstrip("e") if len(word) > 3 else word


def sentences(text: str) -> list[str]:
    """Its sentences, each once, without bullets; lines end sentences too."""
    found: list[str] = []
    for line in text.splitlines():
        pending = ""
        for part in _SENTENCE_END.split(line.strip(" \t-*•")):
            pending = f"{pending} {part}".strip()
            if not _ABBREVIATION.search(pending):
                found.append(pending)
                pending = ""
        found.append(pending)
    return list(dict.fromkeys(s for s in found if any(c.isalnum() for c in s)))


def numbers(text: str) -> list[float]:
    """The numbers in it, thousands and decimal commas understood."""
    return [_number(match) for match in _NUMBER.findall(text)]


def spoken(name: str) -> str:
    """A field's name as words: product_name and productName are "product name"."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.sub(r"[_\W]+", " ", apart).strip().lower()


def overlap(wanted: Iterable[str], text: str) -> float:
    """Which share of the wanted stems the text has: 0 to 1."""
    asked = set(wanted)
    return len(asked & stems(text)) / len(asked) if asked else 0.0


def cut(text: str, length: int) -> str:
    """At most so many characters, whole words if there is room for one."""
    if len(text) <= length:
        return text
    head = text[:length]
    return head.rsplit(" ", 1)[0].rstrip(" ,;:") if " " in head.strip() else head


def _with_parts(word: str) -> list[str]:
    return [word, *word.split("-")] if "-" in word else [word]


def _number(text: str) -> float:
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", text):
        return float(text.replace(",", ""))
    return float(text.replace(",", "."))
