"""One batch, each row answered by what it asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError
from tests.trainers.runs import Started
from trainers.generate import BASE, Request, can_share_batch, generate
from trainers.hardware import Compute
from trainers.modeling import load_base, load_tokenizer

COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@pytest.fixture(scope="module")
def pristine(tiny_model: Path) -> Any:
    return load_base(tiny_model, COMPUTE)


def with_adapter(folder: Path, name: str = "tuned", **how: object) -> Any:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM", **how)
    return get_peft_model(load_base(folder, COMPUTE), config, adapter_name=name).eval()


@pytest.fixture(scope="module")
def lora(tiny_model: Path) -> Any:
    """Two random adapters on one base."""
    model = with_adapter(tiny_model)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    model.add_adapter("other", config)
    return model.eval()


def asked(text: str, adapter: str = BASE, max_tokens: int = 12, temperature: float = 0.0, **how: Any) -> Request:
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
    return Request([Message(role="user", content=text)], sampling, adapter, **how)


def answers(model: Any, tokenizer: Any, *requests: Request) -> list[str]:
    generate(model, tokenizer, requests)
    return [request.text for request in requests]


TEXTS = ["hi", "a much longer question about the delivery of my parcel", "billing?"]


# Who answers.


def test_a_base_row_gets_the_pristine_bases_logits_and_a_tuned_row_others(
    lora: Any, pristine: Any, tokenizer: Any
) -> None:
    ids = tokenizer(["the support ticket"] * 3, return_tensors="pt")
    with torch.inference_mode():
        base, tuned, other = lora(**ids, adapter_names=[BASE, "tuned", "other"]).logits
        untouched = pristine(**ids).logits[0]
    assert torch.equal(base, untouched)
    assert not torch.allclose(tuned, untouched, atol=0.1)
    assert not torch.allclose(tuned, other, atol=0.1)


def test_a_mixed_batch_gives_each_row_what_it_gets_alone(lora: Any, pristine: Any, tokenizer: Any) -> None:
    order = [BASE, "tuned", BASE, "other"]
    rows = [(text, adapter) for text in TEXTS for adapter in order]
    together = answers(lora, tokenizer, *(asked(*row) for row in rows))
    alone = [answers(lora, tokenizer, asked(*row))[0] for row in rows]
    assert together == alone
    assert [together[i] for i, row in enumerate(rows) if row[1] == BASE] == [
        answers(pristine, tokenizer, asked(*row))[0] for row in rows if row[1] == BASE
    ]
    for text in TEXTS:
        by_adapter = {adapter: said for (shown, adapter), said in zip(rows, together, strict=True) if shown == text}
        assert len(set(by_adapter.values())) == 3, "three models, three answers"


@pytest.mark.parametrize("adapter", ["unknown", "default", ""])
def test_an_adapter_that_is_not_held_is_refused(lora: Any, pristine: Any, tokenizer: Any, adapter: str) -> None:
    for model in (lora, pristine):
        request = asked("hi", adapter)
        with pytest.raises(EngineError, match="cannot answer as"):
            generate(model, tokenizer, [asked("hi"), request])
        assert request.text == ""


def test_a_dora_model_answers_as_itself_but_not_as_the_base(tiny_model: Path, pristine: Any, tokenizer: Any) -> None:
    model = with_adapter(tiny_model, use_dora=True)
    assert not can_share_batch(model.peft_config["tuned"])
    with pytest.raises(EngineError, match="cannot answer as __base__"):
        generate(model, tokenizer, [asked("hi", BASE), asked("hi", "tuned")])
    own = answers(model, tokenizer, asked("hi", "tuned"))
    base = answers(pristine, tokenizer, asked("hi"))
    assert own != base
    with model.disable_adapter():
        assert answers(model, tokenizer, asked("hi", BASE)) == base
        with pytest.raises(EngineError, match="cannot answer as tuned"):
            generate(model, tokenizer, [asked("hi", "tuned")])


# How long, and how it ends.


def test_each_row_has_its_own_limit(pristine: Any, tokenizer: Any) -> None:
    rows = [asked("hi", max_tokens=n) for n in (1, 7, 3)]
    generate(pristine, tokenizer, rows)
    assert [(row.tokens, row.finish_reason) for row in rows] == [(1, "length"), (7, "length"), (3, "length")]
    assert rows[1].text.startswith(rows[2].text)
    assert rows[2].text.startswith(rows[0].text)


def test_a_row_stops_at_the_end_of_its_answer(trained: Started, tiny_model: Path, tokenizer: Any) -> None:
    model = PeftModel.from_pretrained(load_base(tiny_model, COMPUTE), trained.run.adapter, adapter_name="tuned")
    rows = [asked(f"Ticket 1 about {label}", "tuned", 50) for label in ("billing", "returns")]
    generate(model, tokenizer, rows)
    assert [(row.text, row.finish_reason) for row in rows] == [("billing", "stop"), ("returns", "stop")]
    assert all(row.tokens < 10 for row in rows)


def test_a_cancelled_row_stops_and_the_others_go_on(pristine: Any, tokenizer: Any) -> None:
    pieces: list[str] = []
    rows = [asked("hi", on_text=pieces.append, cancelled=lambda: len(pieces) >= 3), asked("billing?")]
    generate(pristine, tokenizer, rows)
    assert rows[0].finish_reason == "cancelled"
    assert rows[0].text == "".join(pieces)
    assert len(pieces) == 3
    assert rows[0].tokens < 12
    assert rows[1].finish_reason == "length"
    assert [rows[1].text] == answers(pristine, tokenizer, asked("billing?"))


def test_a_batch_that_is_all_cancelled_ends_at_once(pristine: Any, tokenizer: Any) -> None:
    rows = [asked("hi", max_tokens=500, cancelled=lambda: True) for _ in range(2)]
    generate(pristine, tokenizer, rows)
    assert [(row.text, row.tokens, row.finish_reason) for row in rows] == [("", 0, "cancelled")] * 2


def test_streamed_pieces_join_to_the_text(pristine: Any, tokenizer: Any) -> None:
    streamed: dict[str, list[str]] = {text: [] for text in TEXTS}
    rows = [asked(text, on_text=streamed[text].append, max_tokens=30) for text in TEXTS]
    generate(pristine, tokenizer, rows)
    for row, text in zip(rows, TEXTS, strict=True):
        assert "".join(streamed[text]) == row.text
        assert len(streamed[text]) > 1
        assert "" not in streamed[text]


@pytest.mark.parametrize(("max_context", "max_tokens"), [(None, 1024), (16, 10), (None, 5000)])
def test_a_prompt_that_leaves_no_room_is_refused(
    pristine: Any, tokenizer: Any, max_context: int | None, max_tokens: int
) -> None:
    with pytest.raises(EngineError, match="but the model takes") as caught:
        generate(pristine, tokenizer, [asked("hello there", max_tokens=max_tokens)], max_context=max_context)
    assert caught.value.hint


# How it is drawn.


def test_greedy_rows_are_unchanged_beside_sampled_ones(lora: Any, tokenizer: Any) -> None:
    alone = answers(lora, tokenizer, asked("hi", "tuned"), asked("billing?"))
    torch.manual_seed(0)
    rows = [
        asked("hi", "tuned"),
        asked("hi", "tuned", temperature=5.0),
        asked("billing?"),
        asked("hi", temperature=0.7),
    ]
    mixed = answers(lora, tokenizer, *rows)
    assert [mixed[0], mixed[2]] == alone
    assert mixed[1] != mixed[0]


def test_sampling_varies_and_follows_the_seed(pristine: Any, tokenizer: Any) -> None:
    def drawn(seed: int) -> str:
        torch.manual_seed(seed)
        return answers(pristine, tokenizer, asked("hi", temperature=2.0))[0]

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


def test_a_very_small_top_p_is_greedy(pristine: Any, tokenizer: Any) -> None:
    sampling = Sampling(max_tokens=12, temperature=1.0, top_p=1e-6)
    row = Request([Message(role="user", content="hi")], sampling)
    assert answers(pristine, tokenizer, row) == answers(pristine, tokenizer, asked("hi"))


def test_a_base_that_gave_its_adapter_back_answers_as_before(tiny_model: Path, pristine: Any, tokenizer: Any) -> None:
    bare = with_adapter(tiny_model).unload()
    assert answers(bare, tokenizer, asked("hi")) == answers(pristine, tokenizer, asked("hi"))
