"""Meta-learning: what moves, that the updates are the papers', and that it helps where there is something to learn."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from prompts.errors import DataError, ModelError, RunError
from trainers.meta import Round, adapt, attach, meta_train, read_weights, write_weights
from trainers.modeling import load_tokenizer
from trainers.pool import Episode, Shot, Task, sample_episodes
from trainers.scoring import encode, log_probs
from trainers.strategies.meta import MetaLoraStrategy

WORDS = ("billing", "delivery", "returns", "account", "technical", "feedback", "support", "label")
POOL = [Task("words", tuple((f"the ticket {i} {word}", word) for word in WORDS for i in range(8)))]
OTHER_ROWS = [Task("words", tuple((f"my {word} {i}", word) for word in WORDS for i in range(8)))]
QUICK = MetaLoraStrategy(r=4, rounds=2, inner_steps=2, inner_rate=5e-3)


def episodes(tasks: list[Task] = POOL, count: int = 2, seed: int = 0) -> list[Episode]:
    return sample_episodes(tasks, ways=3, shots=2, queries=2, count=count, seed=seed)


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return attach(AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa"), QUICK)


def plain_loss(model: Any, tokenizer: Any, shots: list[Shot]) -> torch.Tensor:
    """The mean loss per answer token, from one unpadded forward pass a row."""
    values = []
    for messages, answer in shots:
        row = encode(model, tokenizer, messages, [answer])
        logits = model(input_ids=torch.tensor([[*row.prompt, *row.answers[0]]])).logits[0]
        said = torch.tensor(row.answers[0])
        values.append(logits[len(row.prompt) - 1 : -1].log_softmax(-1).gather(-1, said[:, None])[:, 0])
    return -torch.cat(values).mean()


def plain_steps(model: Any, tokenizer: Any, shots: list[Shot], steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=0)
    for _ in range(steps):
        optimizer.zero_grad()
        plain_loss(model, tokenizer, shots).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], tolerance: float = 0) -> bool:
    assert first.keys() == second.keys()
    return all(torch.allclose(first[name], second[name], rtol=0, atol=tolerance) for name in first)


def test_adapting_is_adamw_on_the_answers_alone(model: Any, tokenizer: Any) -> None:
    by_hand, [episode] = copy.deepcopy(model), episodes(count=1)
    before = float(plain_loss(model, tokenizer, episode.shots()).detach())
    losses = adapt(model, tokenizer, episode.shots(), 3, 2e-3)
    assert losses[0] == pytest.approx(before, abs=1e-4)
    assert losses[-1] < losses[0]
    plain_steps(by_hand, tokenizer, episode.shots(), 3, 2e-3)
    assert same(read_weights(model), read_weights(by_hand), 2e-4)  # AdamW's steps are of the rate's size


@pytest.mark.parametrize("rows", [1, 4])
def test_rows_run_in_several_passes_give_the_same_steps(
    model: Any, tokenizer: Any, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, [episode] = copy.deepcopy(model), episodes(count=1)
    whole = adapt(model, tokenizer, episode.shots(), 2, 2e-3)
    monkeypatch.setattr("trainers.meta._AT_ONCE", rows)
    assert adapt(other, tokenizer, episode.shots(), 2, 2e-3) == pytest.approx(whole, abs=1e-3)


def test_a_reptile_round_goes_part_of_the_way_to_where_its_steps_led(model: Any, tokenizer: Any) -> None:
    config = QUICK.model_copy(update={"outer_rate": 0.25})
    by_hand, drawn = copy.deepcopy(model), episodes()
    expected = read_weights(by_hand)
    for number, episode in enumerate(drawn):
        write_weights(by_hand, expected)
        plain_steps(by_hand, tokenizer, episode.shots(), 2, 5e-3)
        share, there = 0.25 * (1 - number / 2), read_weights(by_hand)
        expected = {name: value + share * (there[name] - value) for name, value in expected.items()}
    assert same(meta_train(model, tokenizer, drawn, config), expected, 2e-4)


def test_a_fomaml_round_follows_the_gradient_after_its_steps(model: Any, tokenizer: Any) -> None:
    config = QUICK.model_copy(update={"algorithm": "fomaml", "rounds": 1})
    by_hand, [episode] = copy.deepcopy(model), episodes(count=1)
    begin = read_weights(by_hand)
    plain_steps(by_hand, tokenizer, episode.shots(), 2, 5e-3)
    by_hand.zero_grad()
    plain_loss(by_hand, tokenizer, episode.asked()).backward()  # type: ignore[no-untyped-call]
    slopes = {name: p.grad for name, p in by_hand.named_parameters() if p.requires_grad}
    after = meta_train(model, tokenizer, [episode], config)
    # The first step of an AdamW is its rate against the gradient's sign.
    for name, value in begin.items():
        steep = slopes[name].abs() > 1e-4
        assert steep.any()
        assert torch.allclose((after[name] - value)[steep], -1e-3 * slopes[name].sign()[steep], atol=1e-4)


@pytest.mark.parametrize("algorithm", ["reptile", "fomaml"])
def test_only_the_adapter_moves(model: Any, tokenizer: Any, algorithm: str) -> None:
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    config = MetaLoraStrategy.model_validate({**QUICK.model_dump(), "algorithm": algorithm})
    rounds: list[Round] = []
    meta_train(model, tokenizer, episodes(), config, rounds.append)
    moved = {name for name, p in model.named_parameters() if not torch.equal(before[name], p)}
    assert moved == {name for name in before if "lora_" in name}
    assert [done.number for done in rounds] == [0, 1]
    assert all(len(done.losses) == (3 if algorithm == "fomaml" else 2) for done in rounds)


@pytest.mark.parametrize("algorithm", ["reptile", "fomaml"])
def test_the_same_seed_gives_the_same_weights(tiny_model: Path, tokenizer: Any, algorithm: str) -> None:
    config = MetaLoraStrategy.model_validate({**QUICK.model_dump(), "algorithm": algorithm})
    results = []
    for seed in (5, 5, 6):
        torch.rand(1)  # whatever was drawn before must not matter
        base = AutoModelForCausalLM.from_pretrained(tiny_model)
        fresh = attach(base, config, seed=seed)
        results.append(meta_train(fresh, tokenizer, episodes(), config, seed=seed))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


@pytest.mark.parametrize(
    "knobs",
    [
        {"algorithm": "reptile", "outer_rate": 1.0, "rounds": 25},
        {"algorithm": "fomaml", "outer_rate": 5e-3, "rounds": 40},
    ],
)
def test_meta_learnt_first_values_beat_fresh_ones_on_other_rows(
    model: Any, tokenizer: Any, knobs: dict[str, Any]
) -> None:
    config = MetaLoraStrategy(r=4, inner_steps=3, inner_rate=2e-3, **knobs)
    fresh = read_weights(model)
    learnt = meta_train(model, tokenizer, episodes(count=config.rounds), config)

    def loss_after(weights: dict[str, torch.Tensor], episode: Episode) -> float:
        write_weights(model, weights)
        adapt(model, tokenizer, episode.shots(), 2, 2e-3)
        with torch.no_grad():
            found = log_probs(model, [encode(model, tokenizer, asked, [answer]) for asked, answer in episode.asked()])
        return -sum(float(answer.sum()) for [answer] in found) / len(found)

    for episode in episodes(OTHER_ROWS, count=3, seed=9):
        assert loss_after(learnt, episode) < 0.5 * loss_after(fresh, episode)


def test_weights_go_out_and_back(model: Any, tokenizer: Any) -> None:
    kept = read_weights(model)
    adapt(model, tokenizer, episodes()[0].shots(), 1, 1e-2)
    assert not same(read_weights(model), kept)
    write_weights(model, kept)
    assert same(read_weights(model), kept)


def test_training_leaves_mode_attention_and_dice_as_they_were(model: Any, tokenizer: Any) -> None:
    model.eval()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    adapt(model, tokenizer, episodes()[0].shots(), 1, 1e-3)
    assert torch.equal(torch.rand(1), expected)
    assert not model.training
    assert model.config._attn_implementation == "sdpa"


def test_what_cannot_be_learnt_from_is_refused(model: Any, tokenizer: Any, tiny_model: Path) -> None:
    with pytest.raises(DataError, match="no examples"):
        adapt(model, tokenizer, [], 1, 1e-3)
    with pytest.raises(DataError, match="no episodes"):
        meta_train(model, tokenizer, [], QUICK)
    unasked = sample_episodes(POOL, ways=2, shots=1, queries=0, count=1, seed=0)
    with pytest.raises(DataError, match="query rows"):
        meta_train(model, tokenizer, unasked, QUICK.model_copy(update={"algorithm": "fomaml"}))
    with pytest.raises(ModelError, match="another rank"):
        write_weights(model, {"lora_A": torch.zeros(1)})
    with pytest.raises(ModelError, match="no LoRA"):
        read_weights(AutoModelForCausalLM.from_pretrained(tiny_model))
    with pytest.raises(RunError, match="no number"):
        write_weights(model, {name: value * float("nan") for name, value in read_weights(model).items()})
        adapt(model, tokenizer, episodes()[0].shots(), 1, 1e-3)
