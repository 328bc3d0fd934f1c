"""The unmodified `ollama` client against a gateway in its own process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import ollama
import pytest
from pydantic import BaseModel

from tests.gateway.conftest import RunningGateway

TRIAL, MINILM = "millrace-trial", "all-minilm"
PROMPT = (
    "Context:\n[a] The mill was built in 1889. Its wheel turns slowly.\n"
    "[b] Bananas are a yellow fruit.\n\nQuestion: When was the mill built?"
)
MESSAGES = [{"role": "user", "content": PROMPT}]


class Answer(BaseModel):
    """What is asked for with a schema."""

    passage_id: str
    reason: str


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[ollama.Client]:
    """A client with the key."""
    with ollama.Client(gateway.url, headers=gateway.headers) as made:
        yield made


def test_chat(client: ollama.Client) -> None:
    response = client.chat(TRIAL, MESSAGES)
    assert response.model == TRIAL
    assert response.message.role == "assistant"
    assert response.message.content == '"The mill was built in 1889." [a]'
    assert response.done
    assert response.done_reason == "stop"
    assert response.prompt_eval_count
    assert response.eval_count


def test_chat_in_a_stream_says_the_same(client: ollama.Client) -> None:
    parts = list(client.chat(TRIAL, MESSAGES, stream=True))
    assert len(parts) > 2
    assert "".join(p.message.content or "" for p in parts) == '"The mill was built in 1889." [a]'
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count


def test_chat_with_a_schema(client: ollama.Client) -> None:
    response = client.chat(TRIAL, MESSAGES, format=Answer.model_json_schema())
    answer = Answer.model_validate_json(response.message.content or "")
    assert answer == Answer(passage_id="a", reason="The mill was built in 1889.")


def test_chat_with_format_json(client: ollama.Client) -> None:
    response = client.chat(TRIAL, MESSAGES, format="json")
    assert json.loads(response.message.content or "")


def test_generate(client: ollama.Client) -> None:
    response = client.generate(TRIAL, PROMPT, system="Answer in one sentence.")
    assert response.response == '"The mill was built in 1889." [a]'
    parts = list(client.generate(TRIAL, PROMPT, stream=True))
    assert "".join(part.response or "" for part in parts) == response.response


def test_generate_without_a_prompt_loads_the_model(client: ollama.Client) -> None:
    response = client.generate(TRIAL)
    assert (response.response, response.done, response.done_reason) == ("", True, "load")


def test_embed_one_text_and_many(client: ollama.Client) -> None:
    one = client.embed(MINILM, "a mill").embeddings
    many = client.embed(MINILM, ["a mill", "a wheel"]).embeddings
    assert [len(vector) for vector in (*one, *many)] == [384] * 3
    assert list(one[0]) == pytest.approx(list(many[0]), abs=1e-5)


def test_list_and_show_say_that_it_is_a_trial_model(client: ollama.Client) -> None:
    listed = {model.model: model for model in client.list().models}
    assert set(listed) == {TRIAL, MINILM}
    details = listed[TRIAL].details
    assert details
    assert details.parameter_size == "not a language model"
    page = client.show(TRIAL)
    assert page.capabilities == ["completion"]
    assert "Quotes only; it is not a language model" in (page.modelfile or "")


def test_a_model_is_found_with_its_tag(client: ollama.Client) -> None:
    assert client.chat(f"{TRIAL}:latest", MESSAGES).model == f"{TRIAL}:latest"


async def test_the_asynchronous_client(gateway: RunningGateway) -> None:
    async with ollama.AsyncClient(gateway.url, headers=gateway.headers) as client:
        assert (await client.chat(TRIAL, MESSAGES)).message.content
        assert [part.done async for part in await client.chat(TRIAL, MESSAGES, stream=True)][-1]
        assert len((await client.embed(MINILM, ["a", "b"])).embeddings) == 2
        assert (await client.list()).models


@pytest.mark.parametrize("door", ["chat", "stream", "embed", "show"])
def test_an_unknown_model_is_404(client: ollama.Client, door: str) -> None:
    ask: dict[str, Callable[[], object]] = {
        "chat": lambda: client.chat("llama9", MESSAGES),
        "stream": lambda: list(client.chat("llama9", MESSAGES, stream=True)),
        "embed": lambda: client.embed("llama9", "text"),
        "show": lambda: client.show("llama9"),
    }
    with pytest.raises(ollama.ResponseError, match=r"'llama9' not found.*millrace-trial") as raised:
        ask[door]()
    assert raised.value.status_code == 404


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"format": {"type": "strnig"}}, "not a JSON schema"),
        ({"format": {"type": "integer", "minimum": 5, "maximum": 3}}, "cannot fill"),
        ({"think": True}, "does not support thinking"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "does not support tools"),
    ],
)
def test_what_the_model_cannot_do_is_400(
    client: ollama.Client, fields: dict[str, object], says: str
) -> None:
    with pytest.raises(ollama.ResponseError, match=says) as raised:
        client.chat(TRIAL, MESSAGES, **fields)  # type: ignore[call-overload]
    assert raised.value.status_code == 400


def test_a_text_too_long_to_embed_is_cut_or_refused(client: ollama.Client) -> None:
    text = "mill " * 1000
    assert client.embed(MINILM, text).prompt_eval_count == 256
    with pytest.raises(ollama.ResponseError, match="1002 tokens and exceeds the 256") as raised:
        client.embed(MINILM, text, truncate=False)
    assert raised.value.status_code == 400


@pytest.mark.parametrize("key", [None, "wrong-key", f"{'x' * 40}"])
def test_no_key_or_a_wrong_one_is_401(gateway: RunningGateway, key: str | None) -> None:
    headers = {"authorization": f"Bearer {key}"} if key else None
    with (
        ollama.Client(gateway.url, headers=headers) as client,
        pytest.raises(ollama.ResponseError, match="API key") as raised,
    ):
        client.chat(TRIAL, MESSAGES)
    assert raised.value.status_code == 401


def test_models_are_not_managed_through_the_gateway(client: ollama.Client) -> None:
    for manage in (client.pull, client.push, client.delete):
        with pytest.raises(ollama.ResponseError, match="not managed through the gateway") as raised:
            manage(TRIAL)
        assert raised.value.status_code == 403
