"""Which backend answers: an Ollama server first, the trial model for the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest

from tests.fake_ollama import EMBEDDER, MODEL
from tests.gateway.conftest import KEY, environment, free_port, wait_until_served
from tests.gateway.tiny_gguf import write_tiny_gguf

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ollama.Client]:
    """A client of a gateway over all three backends."""
    home = tmp_path_factory.mktemp("routing")
    fake = subprocess.Popen(
        [sys.executable, "-m", "tests.fake_ollama"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert fake.stdout
    host = fake.stdout.readline().strip()
    gguf, port, log = write_tiny_gguf(home / "tiny.gguf"), free_port(), home / "log"
    with log.open("wb") as output:
        gateway = subprocess.Popen(
            [sys.executable, "-m", "millrace.gateway"],
            env=environment(home, port, MILLRACE_OLLAMA_HOST=host, MILLRACE_GGUF=str(gguf)),
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_served(url, gateway, log)
        with ollama.Client(url, headers={"authorization": f"Bearer {KEY}"}) as made:
            yield made
    finally:
        for process in (gateway, fake):
            process.terminate()
            process.wait(30)
        fake.stdout.close()


def chat(client: ollama.Client, model: str) -> ollama.ChatResponse:
    """A short chat."""
    messages = [{"role": "user", "content": "one two three"}]
    return client.chat(model, messages, options={"num_predict": 2, "seed": 1})


def test_each_model_is_answered_by_its_backend(client: ollama.Client) -> None:
    assert chat(client, MODEL).message.content == "one two "
    assert chat(client, "tiny").eval_count == 2
    assert (chat(client, "millrace-trial").message.content or "").startswith("I am")
    assert client.embed(EMBEDDER, "text").embeddings == [[0.6, 0.8]]
    assert len(client.embed("all-minilm", "text").embeddings[0]) == 384


def test_all_models_are_listed_ollamas_first(client: ollama.Client) -> None:
    chat(client, "tiny")
    names = [model.model for model in client.list().models]
    assert names == [MODEL, EMBEDDER, "tiny", "millrace-trial", "all-minilm"]


def test_a_stream_passes_through(client: ollama.Client) -> None:
    parts = list(client.generate(MODEL, "one two three", stream=True))
    assert [part.response for part in parts] == ["one ", "two ", "three ", ""]
    assert parts[-1].done_reason == "stop"


def test_a_tag_may_be_left_out(client: ollama.Client) -> None:
    assert chat(client, "fake").model == "fake"


def test_ollamas_refusals_reach_the_caller(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="does not support embeddings") as raised:
        client.embed(MODEL, "text")
    assert raised.value.status_code == 400
