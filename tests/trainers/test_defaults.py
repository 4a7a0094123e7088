"""The figures that a plan begins with: sensible, with their sources, and the same step whatever the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainers.defaults import Situation, usual
from trainers.objectives import DpoObjective, KtoObjective
from trainers.shapes import BaseShape
from trainers.strategies import (
    FullStrategy,
    LoraStrategy,
    PrefixTuningStrategy,
    PromptTuningStrategy,
    PTuningStrategy,
)


class Shape(BaseShape):
    """A base model of a given size, without files."""

    def __init__(self, parameters: float, layers: int = 30, width: int = 576) -> None:
        super().__init__(Path("/nowhere"))
        self.__dict__.update(_parameters=int(parameters), _layers=layers, config={"hidden_size": width}, tensors={})

    @property
    def parameters(self) -> int:
        return int(self.__dict__["_parameters"])

    @property
    def layers(self) -> int:
        return int(self.__dict__["_layers"])


def known(parameters: float = 135e6, rows: int = 500, **more: Any) -> Situation:
    usual = {"base": Shape(parameters), "rows": rows, "max_tokens": 128, "device": "cuda", "memory_gb": 80.0}
    return Situation(**{**usual, **more})


def test_the_rate_falls_with_the_size_of_the_model() -> None:
    sizes = (135e6, 1e9, 7e9, 70e9)
    lora = [usual(LoraStrategy(), known(size, memory_gb=1e4)).training.learning_rate for size in sizes]
    full = [usual(FullStrategy(), known(size, memory_gb=1e4)).training.learning_rate for size in sizes]
    assert lora == [2e-3, 5e-4, 2e-4, 1e-4] == sorted(lora, reverse=True)
    assert full == [2e-4, 5e-5, 2e-5, 1e-5]
    assert [b / a for a, b in zip(full, lora, strict=True)] == [pytest.approx(10)] * 4


def test_rank_follows_the_rows_unless_it_is_named() -> None:
    ranks = [usual(LoraStrategy(), known(rows=rows)).strategy for rows in (200, 5_000, 50_000)]
    assert [(s.r, s.alpha) for s in ranks if isinstance(s, LoraStrategy)] == [(8, 16), (16, 32), (32, 64)]
    named = usual(LoraStrategy(r=64), known()).strategy
    assert isinstance(named, LoraStrategy) and (named.r, named.alpha) == (64, 128)


def test_a_step_has_as_many_rows_whatever_the_memory() -> None:
    plans = [usual(LoraStrategy(), known(7e9, rows=5_000, max_tokens=2048, memory_gb=gb)) for gb in (200, 40, 34)]
    assert {plan.training.effective_batch for plan in plans} == {32}
    batches = [plan.training.batch_size for plan in plans]
    assert batches == sorted(batches, reverse=True) and batches[-1] < batches[0]
    assert "so that a step still sees 32 rows" in plans[-1].comments["training.gradient_accumulation"]


@pytest.mark.parametrize(("rows", "effective"), [(20, 4), (133, 4), (300, 8), (700, 16), (5_000, 32), (100_000, 32)])
def test_small_data_gets_small_steps(rows: int, effective: int) -> None:
    assert usual(LoraStrategy(), known(rows=rows)).training.effective_batch == effective


def test_soft_prompts_learn_longer_and_faster() -> None:
    for strategy, rate in ((PromptTuningStrategy(), 3e-2), (PTuningStrategy(), 1e-3), (PrefixTuningStrategy(), 1e-2)):
        found = usual(strategy, known())
        assert (found.training.epochs, found.training.learning_rate) == (10, rate)


def test_preferences_move_a_model_little() -> None:
    by_examples = usual(LoraStrategy(), known(7e9)).training.learning_rate
    for objective in (DpoObjective(), KtoObjective()):
        assert usual(LoraStrategy(), known(7e9), objective).training.learning_rate == pytest.approx(by_examples / 40)


def test_what_begins_far_from_zero_goes_slower() -> None:
    assert usual(LoraStrategy(init="olora"), known()).training.learning_rate == pytest.approx(2e-4)


@pytest.mark.parametrize("strategy", [LoraStrategy(), FullStrategy(), PromptTuningStrategy(), PTuningStrategy()])
def test_every_figure_says_where_it_comes_from(strategy: Any) -> None:
    comments = usual(strategy, known()).comments
    assert {"training.learning_rate", "training.epochs", "training.batch_size", "training.warmup"} <= set(comments)
    sourced = [told for told in comments.values() if any(mark in told for mark in ("20", "arXiv", ".co", "measured"))]
    assert len(sourced) == len(comments)
    assert all("\n" not in told and "#" not in told for told in comments.values())
