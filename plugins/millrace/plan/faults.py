"""What is wrong with a row: where, what, and the cure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millrace.redaction import Redactor


@dataclass(frozen=True, order=True)
class Fault:
    """A reason why a stream is not built as its rows stand."""

    where: str
    """The row, as `<table> <key>`."""
    message: str
    cure: str


@dataclass(frozen=True)
class Rule:
    """What a column's value must be."""

    is_met: Callable[[Any], bool]
    demand: str
    """Completes "It must be ..."."""


def shown(value: object) -> str:
    """A value as a message shows it: one line, without secrets, cut short."""
    return repr(Redactor().document(value))[:80]


def judge(
    where: str, row: Mapping[str, Any], rules: Mapping[str, Rule], defaults: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Fault]]:
    """The row's ruled columns, and a fault for every one that breaks its rule."""
    values = {column: row.get(column, defaults.get(column)) for column in rules}
    broken = [column for column, rule in rules.items() if not rule.is_met(values[column])]
    faults = [
        Fault(
            where,
            f"{column} is {shown(values[column])}.",
            f"It must be {rules[column].demand}.",
        )
        for column in broken
    ]
    return values, faults
