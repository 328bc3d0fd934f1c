"""What an answer has to be: free text, a pydantic model, or a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

import jsonschema
import pydantic

from millrace.errors import BadAnswer, ContractError

TEXT_COLUMN = "answer"

Schema = type[pydantic.BaseModel] | Mapping[str, Any] | None


class AnswerShape(Protocol):
    """How to ask for an answer and how to read it."""

    format: Mapping[str, Any] | None
    """The JSON schema for the request's `format`; None for free text."""

    def read(self, text: str) -> Any:
        """The answer as its author wants it; BadAnswer says what does not fit."""
        ...

    def columns(self, text: str) -> dict[str, Any]:
        """The same as one row: nested objects become parent_child columns."""
        ...


class TextShape:
    """Any text that is not empty."""

    format: Mapping[str, Any] | None = None

    def read(self, text: str) -> str:
        """The text without surrounding white space."""
        if not text.strip():
            raise BadAnswer("The answer is empty.")
        return text.strip()

    def columns(self, text: str) -> dict[str, Any]:
        """One column: `answer`."""
        return {TEXT_COLUMN: self.read(text)}


class ModelShape:
    """A pydantic model."""

    def __init__(self, model: type[pydantic.BaseModel]) -> None:
        self._model = model
        self.format: Mapping[str, Any] | None = model.model_json_schema()

    def read(self, text: str) -> pydantic.BaseModel:
        """An instance of the model."""
        try:
            return self._model.model_validate(find_json(text))
        except pydantic.ValidationError as exc:
            faults = (
                f"{'.'.join(map(str, e['loc'])) or 'the object'}: {e['msg']}" for e in exc.errors()
            )
            raise BadAnswer("; ".join(faults)) from exc

    def columns(self, text: str) -> dict[str, Any]:
        """Its fields as JSON types."""
        return flatten(self.read(text).model_dump(mode="json"))


class JsonShape:
    """A JSON schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            jsonschema.Draft202012Validator.check_schema(dict(schema))
        except jsonschema.SchemaError as exc:
            raise ContractError(f"The schema is no JSON schema: {exc.message}.") from exc
        self._validator = jsonschema.Draft202012Validator(dict(schema))
        self.format: Mapping[str, Any] | None = schema

    def read(self, text: str) -> Any:
        """The JSON value."""
        value = find_json(text)
        faults = [f"{e.json_path}: {e.message}" for e in self._validator.iter_errors(value)]
        if faults:
            raise BadAnswer("; ".join(faults))
        return value

    def columns(self, text: str) -> dict[str, Any]:
        """The object's members; `answer` where the value is no object."""
        value = self.read(text)
        return flatten(value) if isinstance(value, dict) else {TEXT_COLUMN: value}


def shape_of(schema: Schema) -> AnswerShape:
    """The shape that a `schema` argument asks for; ContractError where it is neither."""
    if schema is None:
        return TextShape()
    if isinstance(schema, type) and issubclass(schema, pydantic.BaseModel):
        return ModelShape(schema)
    if isinstance(schema, Mapping):
        return JsonShape(schema)
    raise ContractError("schema must be a pydantic model class or a JSON schema (a dict).")


def find_json(text: str) -> Any:
    """The JSON value in a model's answer, also between fences and chatter; BadAnswer if none."""
    with suppress(ValueError):
        return json.loads(text)
    decoder = json.JSONDecoder()
    for start, character in enumerate(text):
        if character in "{[":
            try:
                return decoder.raw_decode(text, start)[0]
            except ValueError:
                continue
    raise BadAnswer("There is no complete JSON value in the answer.")


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as parent_child columns; lists stay lists."""
    row: dict[str, Any] = {}
    for name, member in value.items():
        if isinstance(member, Mapping) and member:
            row |= flatten(member, f"{prefix}{name}_")
        else:
            row[f"{prefix}{name}"] = member
    return row
