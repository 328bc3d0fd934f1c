"""The trial model's parts: reading a prompt, choosing an item, filling a schema from it."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import jsonschema
import numpy as np
import pytest
from pydantic import BaseModel, Field

from millrace.errors import BackendUnavailable, RequestRefused
from millrace.gateway.backends.trial import weights
from millrace.gateway.backends.trial.evidence import Evidence, gather
from millrace.gateway.backends.trial.fill import fill
from millrace.gateway.backends.trial.items import identifier, item_price, title
from millrace.gateway.backends.trial.minilm import MiniLM
from millrace.gateway.backends.trial.prompt import Item, read_prompt
from millrace.gateway.backends.trial.reading import numbers, sentences, stem
from millrace.gateway.backends.trial.similarity import Similarity
from millrace.gateway.backends.trial.speaking import NO_ANSWER, NO_CONTEXT, free_answer
from millrace.gateway.backends.trial.wishes import read_wishes

SHOP = """You advise customers of an outdoor shop. Choose exactly one product.

Products:
[P-014] Alpine Down Jacket. Category: Jackets. Price: 249.90 EUR. Warm down jacket for ice-cold winters. Weighs 410 g. Rating: 4.5
[P-022] Fjord Wool Sweater. Category: Sweaters. Price: 79.00 EUR. Thick sweater of merino wool for cold days.
[P-031] Breeze Fleece Sweater. Category: Sweaters. Price: 49.00 EUR. Soft fleece sweater for cold days, without wool; dries fast.

Customer:
{customer}
"""


@pytest.fixture(scope="module")
def similarity() -> Similarity:
    """The real MiniLM."""
    folder = weights.model_dir()
    model = MiniLM(weights.load(folder / "model.safetensors"), folder / "tokenizer.json")
    return Similarity(model)


def evidence_of(similarity: Similarity, customer: str) -> Evidence:
    """The shop's evidence for a customer."""
    return gather(similarity, read_prompt(SHOP.format(customer=customer)))


@pytest.mark.parametrize(
    ("customer", "product"),
    [
        ("I freeze all winter and want the warmest jacket there is.", "P-014"),
        ("A woollen sweater for cold days, please.", "P-022"),
        ("A sweater for cold days, but no wool.", "P-031"),
        ("A sweater for cold days, I am allergic to wool.", "P-031"),
        ("Merino would be nice, but my budget is 60 euros.", "P-031"),
        ("Something warm for over 200 EUR.", "P-014"),
    ],
)
def test_the_item_that_suits_is_chosen(similarity: Similarity, customer: str, product: str) -> None:
    assert evidence_of(similarity, customer).item.mark == product


class Recommendation(BaseModel):
    """The demo's schema."""

    product_id: str
    product_name: str
    reason: str
    confidence: Literal["low", "medium", "high"]


def test_all_fields_come_from_the_one_item(similarity: Similarity) -> None:
    evidence = evidence_of(similarity, "The warmest jacket for an ice-cold winter.")
    found = fill(Recommendation.model_json_schema(), evidence)
    assert Recommendation.model_validate(found) == Recommendation(
        product_id="P-014",
        product_name="Alpine Down Jacket",
        reason="Warm down jacket for ice-cold winters.",
        confidence="high",
    )


class Warmth(Enum):
    """How warm."""

    COLD_DAYS = "cold days"
    ICE_COLD_WINTERS = "ice-cold winters"


class Size(BaseModel):
    """A nested model."""

    weight: int = Field(ge=1)
    note: str | None = None


class Detailed(BaseModel):
    """Everything pydantic makes schemas of."""

    sku: str = Field(pattern=r"^P-\d{3}$")
    title: str = Field(max_length=12)
    category: Literal["Sweaters", "Jackets"]
    price: float = Field(gt=0)
    rating: float = Field(ge=0, le=5)
    warmth: Warmth
    is_down: bool
    size: Size
    tags: list[str] = Field(min_length=1, max_length=2)
    colour: str | None = None
    sizes: list[Size] = []
    kind: Literal["product"] = "product"


def test_a_schema_of_every_kind_is_filled_by_what_the_item_says(similarity: Similarity) -> None:
    evidence = evidence_of(similarity, "The warmest jacket for an ice-cold winter.")
    found = Detailed.model_validate(fill(Detailed.model_json_schema(), evidence))
    assert found.sku == "P-014"
    assert found.title == "Alpine Down"
    assert found.category == "Jackets"
    assert found.price == 249.90
    assert found.rating == 4.5
    assert found.warmth is Warmth.ICE_COLD_WINTERS
    assert found.is_down is True
    assert found.size.weight == 410
    assert found.colour is None


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"type": "string"},
        {"type": "string", "minLength": 60, "maxLength": 90},
        {"type": ["string", "null"]},
        {"type": "integer"},
        {"type": "integer", "minimum": 1, "maximum": 5},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "integer", "multipleOf": 7, "minimum": 15},
        {"type": "boolean"},
        {"type": "null"},
        {"const": {"a": [1, None]}},
        {"enum": [1, 2, 3]},
        {"enum": ["yes", None]},
        {"type": "array", "items": {"type": "integer"}, "minItems": 2},
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 2},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 2},
        {"type": "array", "items": {"type": "string"}, "maxItems": 0},
        {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        {"oneOf": [{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}]},
        {"allOf": [{"properties": {"a": {"type": "string"}}}, {"required": ["a"]}]},
        {"type": "object", "additionalProperties": {"type": "integer"}, "required": ["x", "y"]},
        {"type": "object", "properties": {"when": {"type": "string", "format": "date-time"}}},
        TREE,
    ],
)
def test_whatever_is_filled_is_valid(similarity: Similarity, schema: Any) -> None:
    evidence = evidence_of(similarity, "A sweater for cold days.")
    found = fill(schema, evidence)
    jsonschema.validate(found, schema)
    assert found == fill(schema, evidence)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "strnig"}, "not a JSON schema"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "cannot fill"),
        ({"type": "string", "pattern": "^Z{9}$"}, "nothing that fits"),
        ({"type": "string", "format": "email"}, "nothing that fits"),
        ({"$ref": "#/$defs/none"}, "does not exist"),
        ({"$ref": "https://example.org/schema"}, "outside the schema"),
        ({"$ref": "#"}, "circle"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
            "without an end",
        ),
        (False, "cannot fill"),
        ({"type": "string", "pattern": "("}, "cannot fill|not a JSON schema"),
    ],
)
def test_what_cannot_be_filled_is_an_error(similarity: Similarity, schema: Any, says: str) -> None:
    with pytest.raises(RequestRefused, match=says):
        fill(schema, evidence_of(similarity, "A sweater."))


@pytest.mark.parametrize(
    ("ticket", "team"),
    [
        ("I was charged twice for my subscription this month.", "billing"),
        ("The app crashes as soon as I open the settings.", "technical problem"),
        ("My parcel has not arrived yet.", "delivery"),
    ],
)
def test_a_text_without_items_is_classified(similarity: Similarity, ticket: str, team: str) -> None:
    prompt = read_prompt(f"Classify the ticket.\n\nTicket: {ticket}")
    schema = {
        "type": "object",
        "properties": {"team": {"enum": ["billing", "technical problem", "delivery"]}},
        "required": ["team"],
    }
    assert fill(schema, gather(similarity, prompt)) == {"team": team}


def test_a_free_answer_quotes_with_marks(similarity: Similarity) -> None:
    answer = free_answer(evidence_of(similarity, "Which sweater is made of merino wool?"))
    assert '"Thick sweater of merino wool for cold days." [P-022]' in answer


def test_it_says_when_it_has_nothing_to_quote(similarity: Similarity) -> None:
    assert free_answer(gather(similarity, read_prompt("Write a poem."))) == NO_CONTEXT
    unrelated = read_prompt(
        "Context:\nBananas are yellow.\n\nQuestion: Who won the 1954 World Cup?"
    )
    assert free_answer(gather(similarity, unrelated)) == NO_ANSWER


@pytest.mark.parametrize(
    ("text", "marks", "question"),
    [
        ("Context:\nOne fact.\n\nAnother fact.\n\nQuestion: Why?", ["1", "2"], "Why?"),
        ("Question: Why?\n\nContext:\n1. One fact\n2. Another fact", ["1", "2"], "Why?"),
        ("## Documents\n- one fact\n- another fact\n\n## Question\nWhy?", ["1", "2"], "Why?"),
        (
            "<context>\n[x1] One.\n[x2] Two.\n</context>\n<question>\nWhy?\n</question>",
            ["x1", "x2"],
            "Why?",
        ),
        ('Products:\n[{"id": "A1", "name": "One"}]\n\nCustomer: me', ["1"], "me"),
        ("What suits me?\n\n- one thing\n- another thing", ["1", "2"], "What suits me?"),
        ("The sky is blue. Water is wet. Is water wet?", ["1"], "Is water wet?"),
        ("Hello there", [], "Hello there"),
        ("", [], ""),
    ],
)
def test_a_prompt_is_taken_apart(text: str, marks: list[str], question: str) -> None:
    prompt = read_prompt(text)
    assert [item.mark for item in prompt.items] == marks
    assert prompt.question == question


@pytest.mark.parametrize(
    ("question", "unwanted", "ceiling", "floor"),
    [
        ("no wool please", {"wool"}, None, None),
        ("Below 80 EUR, and not leather.", {"leath"}, 80, None),
        ("between 50 and 80 euros", set(), 80, None),
        ("about 100 €", set(), 115, None),
        ("at least 200 EUR", set(), None, 200),
        ("no more than $1,200", set(), 1200, None),
        ("It never stops raining; I do not want to carry much.", set(), None, None),
        ("I may not leave without a helmet.", set(), None, None),
    ],
)
def test_what_a_question_rules_out(
    question: str, unwanted: set[str], ceiling: float | None, floor: float | None
) -> None:
    wishes = read_wishes(question)
    assert wishes.unwanted == unwanted
    assert wishes.ceiling == (pytest.approx(ceiling) if ceiling else None)
    assert wishes.floor == floor


def test_an_item_names_itself() -> None:
    item = Item("Alpine Down Jacket. Price: EUR 1,249.50. Warm.", "P-014")
    assert (identifier(item), title(item), item_price(item)) == (
        "P-014",
        "Alpine Down Jacket",
        1249.5,
    )
    record = Item("id: 77\nname: Field Flask\nprice: 12,90 €", "1")
    assert (identifier(record), title(record), item_price(record)) == ("77", "Field Flask", 12.9)


def test_text_is_read() -> None:
    assert sentences("It costs approx. 5 EUR. It is good!\n- A bullet") == [
        "It costs approx. 5 EUR.",
        "It is good!",
        "A bullet",
    ]
    assert numbers("1,234.5 and 12,90 and -3 but not v2.1a") == [1234.5, 12.9, -3.0]
    assert stem("jackets") == stem("jacket")
    assert stem("batteries") == stem("battery")


def test_vectors_are_of_unit_length_and_alike_texts_are_near(similarity: Similarity) -> None:
    texts = ["a warm jacket for winter", "a coat against the cold", "quarterly tax statements"]
    vectors = similarity.vectors(texts)
    assert vectors.shape == (3, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.2 > vectors[0] @ vectors[2]


def test_vectors_are_those_of_another_implementation(similarity: Similarity) -> None:
    """The first floats of "a b c" as llama.cpp computes them from the same weights at f16."""
    reference = [-0.0043059, 0.0424976, -0.0615580, 0.0541994, -0.0863381, 0.0388393, 0.1027701]
    assert similarity.vectors(["a b c"])[0, :7] == pytest.approx(reference, abs=5e-4)


def test_a_text_has_the_same_vector_alone_and_among_others(similarity: Similarity) -> None:
    model = similarity.model
    texts = ["short", "a text of middling length about mills and water " * 5, "long " * 300]
    together = model.embed(model.tokens(texts))
    alone = np.concatenate([model.embed(model.tokens([text])) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)


def test_other_weights_are_not_loaded(tmp_path: Any) -> None:
    false = tmp_path / "model.safetensors"
    false.write_bytes(b"\0" * 100)
    with pytest.raises(BackendUnavailable, match="sha256 differs"):
        weights.load(false)
