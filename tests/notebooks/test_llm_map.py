"""`run.llm.map`: rows in, rows out, and what happens when the model or the gateway misbehaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest

from millrace.errors import (
    BackendUnavailable,
    BadAnswer,
    ContractError,
    ModelError,
    ModelMissing,
    StaleFence,
)
from millrace.notebook.client import GatewayAddress
from millrace.notebook.llm import Llm
from millrace.notebook.progress import Counts
from millrace.notebook.record import ScratchRecord
from tests.notebooks.fake_gateway import FakeGateway, as_json, asked, refusal, reply, serving


class Pick(pydantic.BaseModel):
    """A schema with a nested object."""

    class Reason(pydantic.BaseModel):
        text: str
        score: float

    product: str
    reason: Reason


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving(FakeGateway()) as running:
        yield running


@pytest.fixture
def llm(gateway: FakeGateway) -> Llm:
    return _llm(gateway)


def _llm(gateway: FakeGateway, *, interactive: bool = False, patience_s: float = 0.3) -> Llm:
    address = GatewayAddress(gateway.url, "secret-key", timeout_s=5)
    return Llm(address, ScratchRecord(), interactive=interactive, patience_s=patience_s)


def _frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"customer_id": range(100, 100 + rows), "text": [f"row {n}" for n in range(rows)]}
    )


def _failing_on(text: str, failure: Callable[[], Any]) -> Callable[[Mapping[str, Any]], Any]:
    return lambda body: failure() if text in asked(body).split("|") else "fine"


def test_order_and_columns_are_kept(gateway: FakeGateway, llm: Llm) -> None:
    gateway.answer = lambda body: as_json(
        product=asked(body), reason={"text": "because", "score": 0.5}
    )
    frame = _frame(50).set_index(pd.Index(range(50, 0, -1)))
    result = llm.map(frame, prompt="{text}", schema=Pick, key="customer_id")
    assert list(result.ok.columns) == [
        "customer_id", "text", "product", "reason_text", "reason_score",
    ]  # fmt: skip
    assert list(result.ok["product"]) == list(frame["text"])
    assert list(result.ok.index) == list(frame.index)
    assert len(result.failed) == 0
    assert (result.tokens_in, result.tokens_out) == (500, 250)
    assert result.model == "fake-model"


def test_concurrency_is_the_slots_of_the_gateway(gateway: FakeGateway, llm: Llm) -> None:
    gateway.slots = 3
    llm.map(_frame(30), prompt="{text}")
    assert gateway.most_at_once == 3


def test_nothing_may_be_cut_in_silence(gateway: FakeGateway, llm: Llm) -> None:
    llm.map(_frame(1), prompt="{text}", num_ctx=1234, options={"temperature": 0})
    [body] = gateway.chats
    assert body["options"] == {"temperature": 0, "num_ctx": 1234}
    assert (body["truncate"], body["shift"]) == (False, False)
    assert gateway.keys == {"Bearer secret-key"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda: reply("cut", done_reason="length"), "length"),
        (lambda: reply("full", prompt_eval_count=8192), "context of 8192"),
        (lambda: reply("half", done=False), "before it was done"),
        (lambda: reply(""), "empty"),
        (lambda: {"error": "out of memory"}, "out of memory"),
        (lambda: refusal(400, "prompt too long"), "prompt too long"),
        (lambda: refusal(500, "crashed"), "crashed"),
    ],
)
def test_one_bad_row_is_quarantined(
    gateway: FakeGateway, llm: Llm, bad: Callable[[], Any], reason: str
) -> None:
    gateway.answer = _failing_on("row 3", bad)
    result = llm.map(_frame(8), prompt="{text}", key="customer_id")
    assert list(result.failed["customer_id"]) == [103]
    assert reason in result.failed["reason"].iloc[0]
    assert list(result.ok["customer_id"]) == [100, 101, 102, 104, 105, 106, 107]
    assert list(result.all["ok"]) == [n != 3 for n in range(8)]
    assert pd.isna(result.all["answer"].iloc[3])


def test_a_misfit_is_told_what_is_wrong_and_asked_again(gateway: FakeGateway, llm: Llm) -> None:
    answers = iter(['{"product": 1}', 'Sure: ```json\n{"product": "boots"}\n```'])
    gateway.answer = lambda body: next(answers)
    schema = {"properties": {"product": {"type": "string"}}, "required": ["product"]}
    result = llm.map(_frame(1), prompt="{text}", schema=schema)
    assert list(result.ok["product"]) == ["boots"]
    assert "is not of type 'string'" in gateway.chats[1]["messages"][-1]["content"]
    assert gateway.chats[0]["format"] == schema
    assert result.tokens_in == 20


def test_a_row_that_never_fits_keeps_its_raw_answer(gateway: FakeGateway, llm: Llm) -> None:
    gateway.answer = lambda body: "no json" if asked(body) == "row 1" else as_json(x=1)
    schema = {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}}
    result = llm.map(_frame(2), prompt="{text}", schema=schema)
    assert list(result.failed["raw"]) == ["no json"]
    assert len(gateway.chats) == 4


def test_busy_is_waited_out(gateway: FakeGateway) -> None:
    replies = iter([refusal(503, "full"), refusal(429, "slow down")])
    gateway.answer = lambda body: next(replies, "fine")
    result = _llm(gateway, patience_s=20).map(_frame(1), prompt="{text}")
    assert len(result.ok) == 1
    assert len(gateway.chats) == 3


def test_a_gateway_that_is_gone_ends_the_batch_with_one_error(gateway: FakeGateway) -> None:
    gateway.answer = lambda body: refusal(503, "no backend")
    with pytest.raises(BackendUnavailable, match="no backend"):
        _llm(gateway).map(_frame(100), prompt="{text}")
    assert len(gateway.chats) < 20
    address = GatewayAddress("http://127.0.0.1:9", "k")
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:9"):
        Llm(address, ScratchRecord(), patience_s=0.1).map(_frame(3), prompt="{text}")


def test_a_missing_model_ends_the_batch_at_once(gateway: FakeGateway, llm: Llm) -> None:
    gateway.answer = lambda body: refusal(404, "model 'x' not found")
    with pytest.raises(ModelMissing, match="'x' not found"):
        llm.map(_frame(100), prompt="{text}", model="x")
    assert len(gateway.chats) <= gateway.slots


def test_a_batch_whose_first_rows_all_fail_stops(gateway: FakeGateway, llm: Llm) -> None:
    gateway.answer = lambda body: refusal(400, "no such option")
    with pytest.raises(ModelError, match=r"first 10 rows all failed.*no such option"):
        llm.map(_frame(100), prompt="{text}")
    assert len(gateway.chats) < 20


def test_a_few_failing_rows_are_no_reason_to_stop(gateway: FakeGateway, llm: Llm) -> None:
    gateway.answer = lambda body: refusal(400, "no")
    result = llm.map(_frame(3), prompt="{text}")
    assert len(result.failed) == 3
    assert list(result.ok.columns) == ["customer_id", "text", "answer"]


def test_the_template_is_checked_before_anything_is_asked(gateway: FakeGateway, llm: Llm) -> None:
    with pytest.raises(ContractError, match=r"\{colour\}.*customer_id, text"):
        llm.map(_frame(3), prompt="{colour}")
    with pytest.raises(ContractError, match="tell the rows apart: 1"):
        llm.map(pd.DataFrame({"id": [1, 1]}), prompt="{id}", key="id")
    assert gateway.chats == []


def test_prompts_are_functions_too_and_their_faults_are_the_rows(
    gateway: FakeGateway, llm: Llm
) -> None:
    def prompt(row: Mapping[str, Any]) -> Any:
        if row["customer_id"] == 101:
            raise ValueError("odd customer")
        return [{"role": "user", "content": f"hello {row['text']}"}]

    result = llm.map(_frame(3), prompt=prompt, system="Be brief.")
    assert "odd customer" in result.failed["reason"].iloc[0]
    assert sorted(asked(b) for b in gateway.chats) == ["hello row 0", "hello row 2"]
    assert gateway.chats[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_missing_values_are_empty_in_a_prompt(gateway: FakeGateway, llm: Llm) -> None:
    frame = pd.DataFrame({"a": ["x", None], "b": [1.5, float("nan")]})
    llm.map(frame, prompt="{a}|{b}|{{}}", concurrency=1)
    assert [asked(b) for b in gateway.chats] == ["x|1.5|{}", "||{}"]


def test_a_field_that_is_a_column_already_gets_a_name_of_its_own(
    gateway: FakeGateway, llm: Llm
) -> None:
    gateway.answer = lambda body: as_json(text="other", size=1)
    result = llm.map(_frame(1), prompt="{text}", schema={"type": "object"})
    assert list(result.ok.columns) == ["customer_id", "text", "text_answer", "size"]


def test_an_estimate_asks_a_sample(gateway: FakeGateway, llm: Llm) -> None:
    estimate = llm.map(_frame(1000), prompt="{text}", estimate=True)
    assert len(gateway.chats) == 10
    assert (estimate.rows, estimate.sampled) == (1000, 10)
    assert (estimate.tokens_in, estimate.tokens_out) == (10_000, 5_000)


def test_an_empty_frame_is_no_work(gateway: FakeGateway, llm: Llm) -> None:
    result = llm.map(_frame(0), prompt="{text}", schema=Pick)
    assert len(result.ok) == 0
    assert "product" in result.ok.columns
    assert gateway.chats == []


def _interrupt_when_held(gateway: FakeGateway) -> None:
    def interrupt() -> None:
        gateway.asked.wait()
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()


def test_ctrl_c_gives_back_what_is_done(gateway: FakeGateway) -> None:
    def answer(body: Mapping[str, Any]) -> str:
        if asked(body) == "row 8":
            gateway.hold.clear()
            signal.raise_signal(signal.SIGINT)
        return "fine"

    gateway.answer = answer
    result = _llm(gateway, interactive=True).map(_frame(100), prompt="{text}")
    assert result.interrupted
    assert 0 < len(result.ok) < 100
    assert set(result.all.loc[~result.all["ok"], "reason"]) == {"not asked"}


def test_under_airflow_an_interrupt_ends_the_notebook(gateway: FakeGateway, llm: Llm) -> None:
    gateway.hold.clear()
    _interrupt_when_held(gateway)
    with pytest.raises(KeyboardInterrupt):
        llm.map(_frame(10), prompt="{text}")


class _Overtaken(ScratchRecord):
    """The record of an attempt that another one takes over while its first rows are asked."""

    def progress(self, counts: Counts) -> None:
        raise StaleFence


def test_an_overtaken_attempt_stops_asking(gateway: FakeGateway) -> None:
    gateway.hold.clear()
    llm = Llm(GatewayAddress(gateway.url), _Overtaken(), patience_s=0.3)
    with pytest.raises(StaleFence):
        llm.map(_frame(100), prompt="{text}")
    assert len(gateway.chats) <= gateway.slots


async def test_it_works_inside_a_running_loop(llm: Llm) -> None:
    assert llm.chat("hello") == "fine"
    assert len(llm.map(_frame(2), prompt="{text}").ok) == 2


def test_chat_gives_an_instance_of_the_schema(gateway: FakeGateway, llm: Llm) -> None:
    gateway.answer = lambda body: as_json(product="hat", reason={"text": "cold", "score": 1})
    pick = llm.chat("which?", schema=Pick)
    assert isinstance(pick, Pick)
    assert pick.reason.text == "cold"
    gateway.answer = lambda body: "none"
    with pytest.raises(BadAnswer, match="no complete JSON"):
        llm.chat("which?", schema=Pick)


def test_embed_keeps_order_over_many_requests(gateway: FakeGateway, llm: Llm) -> None:
    texts = [f"word{n}" for n in range(150)]
    vectors = llm.embed(texts)
    assert vectors.shape == (150, 32)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors[77], llm.embed(["word77"])[0])
    assert llm.embed_model == "fake-embed"
