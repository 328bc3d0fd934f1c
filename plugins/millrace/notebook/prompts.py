"""Prompts: a template over the columns of a frame, or a function of a row, to messages."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from millrace.errors import ContractError

Message = Mapping[str, Any]
Prompt = str | Callable[[Mapping[str, Any]], str | Sequence[Message]]


def rendered(
    frame: pd.DataFrame, prompt: Prompt, system: str | None
) -> Iterator[list[Message] | Exception]:
    """The messages for each row, in order, made one at a time.

    What a prompt function raises comes in the row's place. ContractError, before the first row,
    where the template names a column that is not there.
    """
    columns = _columns(frame, prompt)
    # zip over columns: a dict per row of the columns in use, without copying the frame.
    values = zip(*(frame[name] for name in columns), strict=True) if columns else _empty(frame)
    for cells in values:
        row = {n: "" if _is_missing(v) else v for n, v in zip(columns, cells, strict=True)}
        try:
            yield as_messages(_fill(prompt, row), system)
        except Exception as exc:  # noqa: BLE001 - the author's function: its fault is the row's
            yield exc


def check_prompt(frame: pd.DataFrame, prompt: Prompt) -> None:
    """ContractError where the template does not fit the frame."""
    _columns(frame, prompt)


def as_messages(prompt: str | Sequence[Message], system: str | None = None) -> list[Message]:
    """The messages of a chat request."""
    first: list[Message] = [{"role": "system", "content": system}] if system else []
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    return [*first, *asked]


def _columns(frame: pd.DataFrame, prompt: Prompt) -> list[str]:
    if not isinstance(prompt, str):
        return list(frame.columns)
    names = _template_names(prompt)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ContractError(
            f"The prompt names {{{missing[0]}}}, which is no column of the frame "
            f"({', '.join(map(str, frame.columns))}).",
            cure="Add the column, or write {{ and }} for braces that are part of the text.",
        )
    return names


def _template_names(prompt: str) -> list[str]:
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(prompt)]
    except ValueError as exc:
        raise ContractError(
            f"The prompt is no template: {exc}.", cure="Write {{ and }} for plain braces."
        ) from exc
    roots = (f.partition(".")[0].partition("[")[0] for f in fields if f is not None)
    return list(dict.fromkeys(roots))


def _fill(prompt: Prompt, row: Mapping[str, Any]) -> str | Sequence[Message]:
    return prompt.format_map(row) if isinstance(prompt, str) else prompt(row)


def _empty(frame: pd.DataFrame) -> Iterator[tuple[()]]:
    return (() for _ in range(len(frame)))


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and value != value)
    )
