"""What `llm.map` gives back: the rows that were answered, those that were not, and the totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from millrace.notebook.answers import TEXT_COLUMN, AnswerShape
from millrace.notebook.asking import Reply


@dataclass(frozen=True, eq=False, repr=False)
class MapResult:
    """The outcome of one `llm.map`. Frames keep the input's order and index."""

    frame: pd.DataFrame
    """The input."""
    key: str | None
    shape: AnswerShape
    replies: Mapping[int, Reply]
    """Row number -> reply, for the rows that were asked."""
    seconds: float
    """Wall time."""
    interrupted: bool = False
    """True after Ctrl-C: rows without a reply are in neither `ok` nor `failed`."""
    model: str = field(default="")
    """The model that answered."""

    @cached_property
    def ok(self) -> pd.DataFrame:
        """The answered rows: the input's columns, then the schema's fields.

        A field whose name the input has already becomes `<field>_answer`.
        """
        numbers = self._numbers(ok=True)
        answers = self._answers(numbers)
        return pd.concat([self.frame.iloc[numbers], answers], axis=1)

    @cached_property
    def failed(self) -> pd.DataFrame:
        """The quarantined rows: their key (or index), the reason and the raw answer."""
        numbers = self._numbers(ok=False)
        rows = self.frame.iloc[numbers]
        name = self.key or "row"
        return pd.DataFrame(
            {
                name: list(rows[self.key] if self.key else rows.index),
                "reason": [self.replies[n].reason for n in numbers],
                "raw": [self.replies[n].text for n in numbers],
            },
            index=rows.index,
        )

    @cached_property
    def all(self) -> pd.DataFrame:
        """Every input row, with `ok` and `reason`; the answer's columns are empty where not ok."""
        numbers = self._numbers(ok=True)
        asked = self.replies
        whole = self.frame.assign(
            ok=[n in asked and asked[n].ok for n in range(len(self.frame))],
            reason=[asked[n].reason if n in asked else "not asked" for n in range(len(self.frame))],
        )
        answers = self._answers(numbers)
        answers.index = pd.Index(numbers, dtype="int64")
        answers = answers.reindex(range(len(self.frame)))
        answers.index = self.frame.index
        return pd.concat([whole, answers], axis=1)

    @property
    def tokens_in(self) -> int:
        """Prompt tokens, all tries together."""
        return sum(reply.tokens_in for reply in self.replies.values())

    @property
    def tokens_out(self) -> int:
        """Answer tokens, all tries together."""
        return sum(reply.tokens_out for reply in self.replies.values())

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        answered, failed = len(self._numbers(ok=True)), len(self._numbers(ok=False))
        parts = [f"{answered} of {len(self.frame)} rows answered by {self.model or 'no model'}"]
        parts += [f"{failed} quarantined"] if failed else []
        parts += ["interrupted"] if self.interrupted else []
        tokens = f"{self.tokens_in} tokens in, {self.tokens_out} out, {self.seconds:.1f} s"
        return f"<{', '.join([*parts, tokens])}>"

    def _numbers(self, *, ok: bool) -> list[int]:
        return sorted(n for n, reply in self.replies.items() if reply.ok is ok)

    def _answers(self, numbers: list[int]) -> pd.DataFrame:
        rows = [self.shape.columns(self.replies[n].text) for n in numbers]
        index = self.frame.index[numbers]
        answers = pd.DataFrame(rows, index=index, columns=None if rows else _fields(self.shape))
        taken = {name: f"{name}_answer" for name in answers.columns if name in self.frame.columns}
        return answers.rename(columns=taken)


@dataclass(frozen=True)
class Estimate:
    """What the whole frame would cost, from a sample of it."""

    rows: int
    sampled: int
    failed: int
    tokens_in: int
    tokens_out: int
    hours: float

    def __str__(self) -> str:
        return (
            f"{self.rows} rows: about {self.tokens_in:,} tokens in, {self.tokens_out:,} out, "
            f"{self.hours:.2f} hours (from {self.sampled} rows, {self.failed} of them failed)"
        )


def estimate(sample: MapResult, rows: int) -> Estimate:
    """Scale a sample's totals up to `rows`."""
    scale = rows / max(1, len(sample.replies))
    return Estimate(
        rows=rows,
        sampled=len(sample.replies),
        failed=len(sample.failed),
        tokens_in=round(sample.tokens_in * scale),
        tokens_out=round(sample.tokens_out * scale),
        hours=sample.seconds * scale / 3600,
    )


def _fields(shape: AnswerShape) -> list[Any]:
    properties = (shape.format or {}).get("properties")
    return list(properties) if properties else [TEXT_COLUMN]
