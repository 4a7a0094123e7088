"""Answers held to choices and to schemas, and what rows have in common computed once: nothing else may change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from prompts.allowed import Allowed, allowed_for
from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError
from tests.trainers.test_generate import COMPUTE, with_adapter
from trainers.generate import BASE, Request, generate
from trainers.modeling import load_base, load_tokenizer
from trainers.prefixes import Prefixes

CHOICES = Allowed(choices=("billing", "delivery", "delivery problem", "zz"))
SCHEMA = allowed_for([], ['{"team": "billing", "urgent": true}', '{"team": null, "urgent": false}'])
LONG = "You route support tickets to a team. " * 10
TEXTS = ["hi", "where is my parcel, it should have come last week", "the invoice is wrong", "hi there"]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return load_base(tiny_model, COMPUTE)


def asked(text: str, allowed: Allowed | None = None, system: str = "", most: int = 24, **how: Any) -> Request:
    turns = [Message(role="system", content=system)] if system else []
    return Request([*turns, Message(role="user", content=text)], Sampling(max_tokens=most, allowed=allowed), **how)


def test_every_answer_is_one_of_the_choices(model: Any, tokenizer: Any) -> None:
    rows = [asked(text, CHOICES) for text in TEXTS]
    generate(model, tokenizer, rows)
    assert {row.text for row in rows} <= set(CHOICES.choices)
    assert {row.finish_reason for row in rows} == {"stop"}


def test_each_token_is_the_likeliest_of_those_that_lead_to_a_choice(model: Any, tokenizer: Any) -> None:
    """Walked once more by hand: at each place all vocabulary entries are tried as text."""
    row = asked(TEXTS[1], CHOICES)
    generate(model, tokenizer, [row])
    ids = tokenizer.apply_chat_template(
        [m.model_dump() for m in row.messages], add_generation_prompt=True, return_dict=False
    )
    pieces = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    text = ""
    while True:
        with torch.inference_mode():
            scores = model(torch.tensor([ids])).logits[0, -1]
        fitting = [
            t for t, piece in enumerate(pieces) if piece and any(c.startswith(text + piece) for c in CHOICES.choices)
        ]
        if text in CHOICES.choices:
            fitting.append(tokenizer.eos_token_id)
        best = max(fitting, key=lambda token: float(scores[token]))
        if best == tokenizer.eos_token_id or not fitting:
            break
        ids, text = [*ids, best], text + pieces[best]
        if text in CHOICES.choices and not any(c.startswith(text) and c != text for c in CHOICES.choices):
            break
    assert row.text == text


def test_json_follows_its_schema_or_says_that_it_was_cut(model: Any, tokenizer: Any) -> None:
    rows = [asked(text, SCHEMA, most=80) for text in TEXTS]
    generate(model, tokenizer, rows)
    for row in rows:
        if row.finish_reason == "stop":
            found = json.loads(row.text)
            assert set(found) == {"team", "urgent"} and isinstance(found["urgent"], bool)
        else:
            assert row.finish_reason == "length" and row.tokens == 80
    assert all(row.text.startswith('{"team": ') for row in rows)


def test_a_row_that_is_held_changes_nothing_for_its_neighbours(model: Any, tokenizer: Any) -> None:
    alone, beside = asked(TEXTS[1]), asked(TEXTS[1])
    generate(model, tokenizer, [alone])
    generate(model, tokenizer, [asked("hi", CHOICES), beside, asked("hi", SCHEMA)])
    assert beside.text == alone.text and beside.finish_reason == alone.finish_reason


@pytest.mark.parametrize("schema", ['{"type": "nonsense"}', '{"$ref": "#/nowhere"}'])
def test_a_schema_that_cannot_be_followed_is_an_error(model: Any, tokenizer: Any, schema: str) -> None:
    with pytest.raises(EngineError, match="held to this form"):
        generate(model, tokenizer, [asked("hi", Allowed(json_schema=schema))])


# What rows begin with.


@pytest.mark.parametrize("allowed", [None, CHOICES, SCHEMA])
@pytest.mark.parametrize("adapter", [BASE, "tuned"])
def test_a_shared_start_gives_the_same_answers(
    tiny_model: Path, tokenizer: Any, allowed: Allowed | None, adapter: str
) -> None:
    model = with_adapter(tiny_model)
    each = [asked(text, allowed, LONG, adapter=adapter) for text in TEXTS]
    for row in each:
        generate(model, tokenizer, [row])
    prefixes, together = Prefixes(), [asked(text, allowed, LONG, adapter=adapter) for text in TEXTS]
    generate(model, tokenizer, together, prefixes=prefixes)
    again = [asked(text, allowed, LONG, adapter=adapter) for text in reversed(TEXTS)]
    generate(model, tokenizer, again, prefixes=prefixes)
    assert len(prefixes) == 1
    assert [row.text for row in together] == [row.text for row in each]
    assert [row.text for row in reversed(again)] == [row.text for row in each]


def test_a_short_start_is_not_worth_keeping(model: Any, tokenizer: Any) -> None:
    prefixes = Prefixes()
    generate(model, tokenizer, [asked(text, system="Go.") for text in TEXTS], prefixes=prefixes)
    assert len(prefixes) == 0


def test_the_logits_after_a_shared_start_are_those_without(model: Any, tokenizer: Any) -> None:
    encoded = [tokenizer(LONG + text)["input_ids"] for text in TEXTS[:2]]
    with torch.inference_mode():
        length, cache = Prefixes().shared(model, encoded, BASE, {})
        assert length > 100
        for index, ids in enumerate(encoded):
            plain = model(torch.tensor([ids])).logits[0, -1]
            own, row = Prefixes().shared(model, [ids, ids], BASE, {})
            after = model(torch.tensor([ids[own:]] * 2), past_key_values=row).logits[index, -1]
            assert torch.allclose(plain, after, atol=1e-4)
    assert cache.get_seq_length() == length


def test_another_adapter_does_not_get_the_first_ones_start(tiny_model: Path, tokenizer: Any) -> None:
    model, prefixes = with_adapter(tiny_model), Prefixes()
    for adapter in (BASE, "tuned"):
        rows = [asked(text, None, LONG, adapter=adapter) for text in TEXTS]
        generate(model, tokenizer, rows, prefixes=prefixes)
    assert len(prefixes) == 2
    prefixes.clear()
    assert len(prefixes) == 0
