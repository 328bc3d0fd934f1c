"""What a notebook declares: the names, types and defaults of its parameters cell.

The cell is parsed, never executed.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from millrace.errors import ContractError

TAG = "parameters"
ANY_TYPE = "any"
_JSON_TYPES: Mapping[str, str] = {
    **{name: name for name in ("str", "int", "float", "bool", "list", "dict")},
    **{"List": "list", "Dict": "dict", "Any": ANY_TYPE, "object": ANY_TYPE, "None": "None"},
}


@dataclass(frozen=True)
class Declared:
    """One parameter: the JSON types it takes ('None' among them if it may be null)."""

    name: str
    types: frozenset[str]
    is_required: bool

    @property
    def expected(self) -> str:
        """The types as a person writes them: `int or None`."""
        return " or ".join(sorted(self.types, key=lambda t: (t == "None", t)))

    def accepts(self, value: Any) -> bool:
        """Whether a JSON value is of one of the types; an int is a float too."""
        given = type_name(value)
        return (
            ANY_TYPE in self.types
            or given in self.types
            or (given == "int" and "float" in self.types)
        )


@dataclass(frozen=True)
class Declaration:
    """All parameters of one notebook, in order, and what is wrong with the cell itself."""

    shown: str
    parameters: Mapping[str, Declared]
    faults: tuple[tuple[str, str], ...]
    """(message, cure) of declarations that contradict themselves."""


def declared_in(notebook: Mapping[str, Any], *, shown: str) -> Declaration:
    """The declaration of a notebook (its JSON); ContractError where it has none that can be read."""
    source = _parameters_source(notebook, shown)
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError) as exc:
        raise ContractError(
            f"{shown}: the parameters cell is not plain Python: {exc}.",
            cure="Keep magics and shell lines out of that cell.",
        ) from exc
    pairs = [pair for statement in statements for pair in _declared(statement)]
    return Declaration(
        shown,
        {declared.name: declared for declared, _ in pairs},
        tuple(fault for _, faults in pairs for fault in faults),
    )


def type_name(value: Any) -> str:
    """The JSON type of a value in Python's words: `int`, `str`, `None`."""
    return "None" if value is None else type(value).__name__


def json_fault(value: Any) -> str:
    """What keeps a value from being JSON, or ''."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            return "has a key that is not text"
        return next((fault for item in value.values() if (fault := json_fault(item))), "")
    if isinstance(value, list):
        return next((fault for item in value if (fault := json_fault(item))), "")
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a finite number"
    is_json = value is None or isinstance(value, str | bool | int | float)
    return "" if is_json else f"is a {type(value).__name__}, not a JSON value"


def cell_source(cell: Mapping[str, Any]) -> str:
    """A cell's source, which a file may hold as a list of lines."""
    source = cell.get("source", "")
    return "".join(source) if isinstance(source, list) else str(source)


def _parameters_source(notebook: Mapping[str, Any], shown: str) -> str:
    for cell in notebook["cells"]:
        if TAG in cell.get("metadata", {}).get("tags", []) and cell["cell_type"] == "code":
            return cell_source(cell)
    raise ContractError(
        f"{shown} has no parameters cell.",
        cure="Tag its first code cell `parameters` (JupyterLab: right sidebar, property "
        "inspector, cell tags); the cell may be empty.",
    )


def _declared(statement: ast.stmt) -> Iterator[tuple[Declared, list[tuple[str, str]]]]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield _annotated(statement.target.id, statement)
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield Declared(target.id, _types_like(statement.value), False), []


def _annotated(name: str, statement: ast.AnnAssign) -> tuple[Declared, list[tuple[str, str]]]:
    types = _types_of(statement.annotation)
    if types is None:
        written = ast.unparse(statement.annotation)
        fault = (f"parameter {name} is declared {written}, which is not a JSON type.", _TYPES_CURE)
        return Declared(name, frozenset({ANY_TYPE}), statement.value is None), [fault]
    declared = Declared(name, types, statement.value is None)
    return declared, list(_contradiction(declared, statement.value))


_TYPES_CURE = "Use str, int, float, bool, list, dict, Optional[...] of them, or Any."


def _contradiction(declared: Declared, default: ast.expr | None) -> Iterator[tuple[str, str]]:
    known, value = _literal(default)
    if known and not declared.accepts(value):
        yield (
            f"parameter {declared.name} is declared {declared.expected}, but its default is "
            f"{type_name(value)} {ast.unparse(default) if default else ''}.",
            "Change the declaration or the default.",
        )


def _types_of(annotation: ast.expr) -> frozenset[str] | None:
    """The JSON types an annotation allows; None where it is not made of JSON types."""
    match annotation:
        case ast.Constant(value=None):
            return frozenset({"None"})
        case ast.Constant(value=str(text)):
            return _types_of_text(text)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return frozenset({_JSON_TYPES[name]}) if name in _JSON_TYPES else None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([left, right])
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            return _types_of_generic(name, inner)
    return None


def _types_of_text(text: str) -> frozenset[str] | None:
    try:
        return _types_of(ast.parse(text, mode="eval").body)
    except SyntaxError:
        return None


def _types_of_generic(name: str, inner: ast.expr) -> frozenset[str] | None:
    members = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Optional":
        return _union([inner, ast.Constant(value=None)])
    if name == "Union":
        return _union(members)
    if name == "Literal":
        return frozenset(type_name(m.value) for m in members if isinstance(m, ast.Constant))
    return frozenset({_JSON_TYPES[name]}) if name in _JSON_TYPES else None


def _union(members: list[ast.expr]) -> frozenset[str] | None:
    found = [_types_of(member) for member in members]
    known = [types for types in found if types is not None]
    return frozenset[str]().union(*known) if len(known) == len(found) else None


def _types_like(default: ast.expr) -> frozenset[str]:
    """An unannotated parameter takes what its default is, any number for a number, or null."""
    known, value = _literal(default)
    if not known or value is None or json_fault(value):
        return frozenset({ANY_TYPE})
    given = type_name(value)
    return frozenset({"None", "float" if given == "int" else given, given})


def _literal(expression: ast.expr | None) -> tuple[bool, Any]:
    if expression is None:
        return False, None
    try:
        return True, ast.literal_eval(expression)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False, None
