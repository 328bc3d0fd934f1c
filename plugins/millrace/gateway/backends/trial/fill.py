"""Fills a JSON schema from one context item, and validates what came out.

Every string is the item's own words (or the question's, for fields named after the asker);
only numbers and flags that nothing in the text decides fall back on the schema's bounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing.exceptions import Unresolvable

from millrace.errors import RequestRefused
from millrace.gateway.backends.trial import values
from millrace.gateway.backends.trial.evidence import Evidence
from millrace.gateway.backends.trial.reading import spoken

Schema = Mapping[str, Any]
MAX_DEPTH = 8
"""Where a schema that holds itself is no longer followed."""
DEFAULT_ITEMS = 3


class Unfillable(Exception):
    """Nothing in the text fits this part of the schema."""


def fill(schema: Schema, evidence: Evidence) -> Any:
    """A value that fits the schema.

    Raises RequestRefused for a schema that is none, or that the text cannot satisfy.
    """
    try:
        Draft202012Validator.check_schema(schema)
        value = Filler(schema, evidence).fill(schema, "", 0)
        Draft202012Validator(schema).validate(value)
    except SchemaError as error:
        raise RequestRefused(f"format is not a JSON schema: {error.message}.") from error
    except (Unfillable, ValidationError, Unresolvable, re.error) as error:
        raise RequestRefused(
            f"The trial model cannot fill this schema from the prompt: {_reason(error)}.",
            cure="It only quotes what the prompt holds; a language model may do better.",
        ) from error
    return value


class Filler:
    """Walks one schema for one prompt."""

    def __init__(self, root: Schema, evidence: Evidence) -> None:
        self._root = root
        self._evidence = evidence
        self._kinds: Mapping[str, Callable[[Schema, str, int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._number,
            "number": self._number,
            "boolean": self._boolean,
            "null": lambda schema, name, depth: None,
        }

    def fill(self, schema: Schema | bool, name: str, depth: int) -> Any:
        """A value for one part of the schema; `name` is the field's, `depth` how far down."""
        if isinstance(schema, bool):
            if not schema:
                raise Unfillable(f"{name or 'the schema'} allows no value")
            return self._evidence.quotes(spoken(name))[0]
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._enum(schema, name)
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            return self._any(schema, branches, name, depth)
        return self._kinds[_kind(schema)](schema, name, depth)

    def _resolved(self, schema: Schema) -> dict[str, Any]:
        """The schema with `$ref` and `allOf` laid together."""
        result = {k: v for k, v in schema.items() if k not in ("$ref", "allOf")}
        for _ in range(MAX_DEPTH):
            parts = [self._target(schema["$ref"])] if "$ref" in schema else []
            parts += [p for p in schema.get("allOf", ()) if isinstance(p, Mapping)]
            if not parts:
                return result
            schema = _merged(parts)
            result = _merged(
                [{k: v for k, v in schema.items() if k not in ("$ref", "allOf")}, result]
            )
        raise Unfillable("its references run in a circle")

    def _target(self, reference: str) -> Schema:
        if not reference.startswith("#"):
            raise Unfillable(f"{reference} lies outside the schema")
        target: Any = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or key not in target:
                raise Unfillable(f"{reference} does not exist")
            target = target[key]
        return target if isinstance(target, Mapping) else {}

    def _any(self, schema: Schema, branches: Sequence[Schema], name: str, depth: int) -> Any:
        shared = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
        nullable = any(_allows_null(branch) for branch in branches if isinstance(branch, Mapping))
        reasons = []
        if nullable and (depth > MAX_DEPTH or not self._knows(name)):
            return None
        for branch in (b for b in branches if not (isinstance(b, Mapping) and _allows_null(b))):
            try:
                part = _merged([shared, branch]) if isinstance(branch, Mapping) else branch
                return self.fill(part, name, depth + 1)
            except Unfillable as error:
                reasons.append(str(error))
        if nullable:
            return None
        raise Unfillable("; ".join(reasons) or f"{name} has no branch that fits")

    def _knows(self, name: str) -> bool:
        return not name or values.is_mentioned(self._evidence, name)

    def _enum(self, schema: Schema, name: str) -> Any:
        options = [o for o in schema["enum"] if _fits(o, schema)]
        if not options:
            raise Unfillable(f"no value of the enum of {name or 'the schema'} is allowed")
        return values.option(self._evidence, options, name, schema.get("description", ""))

    def _object(self, schema: Schema, name: str, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise Unfillable(f"{name} holds itself without an end")
        required = schema.get("required", ())
        found: dict[str, Any] = {}
        for key, part in schema.get("properties", {}).items():
            try:
                found[key] = self.fill(part, key, depth + 1)
            except Unfillable:
                if key in required:
                    raise
        for key in required:
            if key not in found:
                found[key] = self.fill(schema.get("additionalProperties", True), key, depth + 1)
        return found

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        most = min(schema.get("maxItems", max(least, DEFAULT_ITEMS)), max(least, DEFAULT_ITEMS))
        fixed = [self.fill(part, name, depth + 1) for part in schema.get("prefixItems", ())]
        if most <= len(fixed) or depth > MAX_DEPTH or schema.get("items") is False:
            return fixed
        return [*fixed, *self._members(schema, name, depth, least - len(fixed), most - len(fixed))]

    def _members(self, schema: Schema, name: str, depth: int, least: int, most: int) -> list[Any]:
        part = schema.get("items", {"type": "string"})
        inner = self._resolved(part) if isinstance(part, Mapping) else {}
        if "enum" in inner:
            found = values.options(self._evidence, inner["enum"], name, max(1, least), most)
        elif inner and _kind(inner) == "string":
            found = [s for s in values.listed(self._evidence, name) if _fits(s, inner)]
        else:
            places = range(min(most, len(self._evidence.ranked)))
            found = [self._about(place).fill(part, name, depth + 1) for place in places]
        if len(found) < least and not schema.get("uniqueItems") and found:
            found = [*found, *[found[-1]] * (least - len(found))]
        return found[:most]

    def _about(self, place: int) -> Filler:
        return Filler(self._root, self._evidence.at(place))

    def _string(self, schema: Schema, name: str, depth: int) -> str:
        for candidate in values.strings(self._evidence, schema, name):
            if _fits(candidate, {"type": "string", **schema}):
                return candidate
        raise Unfillable(f"the text has nothing that fits {name or 'a string'}")

    def _number(self, schema: Schema, name: str, depth: int) -> float | int:
        return values.number(self._evidence, schema, name)

    def _boolean(self, schema: Schema, name: str, depth: int) -> bool:
        return values.flag(self._evidence, name, schema.get("description", ""))


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _merged(parts: Sequence[Schema]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if key == "properties":
                result[key] = {**result.get(key, {}), **value}
            elif key == "required":
                result[key] = list(dict.fromkeys([*result.get(key, ()), *value]))
            else:
                result[key] = value
    return result


def _allows_null(schema: Schema) -> bool:
    return schema.get("type") == "null" or ("const" in schema and schema["const"] is None)


def _fits(value: Any, schema: Schema) -> bool:
    local = {k: v for k, v in schema.items() if k not in ("enum", "$defs")}
    return Draft202012Validator(local).is_valid(value)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        where = "/".join(map(str, error.absolute_path))
        rule = f"{error.validator}: {error.validator_value}" if error.validator else "a rule"
        return f"{where or 'the answer'} cannot meet {rule}"[:300]
    return str(error)[:300]
