"""Base against result, with what was saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prompts.chat_model import Sampling
from prompts.versions import Demonstration, PromptVersion
from tests.tiny import build_tiny_model
from tests.trainers.runs import Started
from trainers.evaluate import predict
from trainers.generate import Request, generate
from trainers.hardware import Compute
from trainers.modeling import load_base, load_tokenizer
from trainers.plan import TrainingPlan

COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)
Plans = Callable[..., TrainingPlan]


def said(folder: Path, prompt: PromptVersion, text: str, most: int) -> str:
    request = Request(prompt.messages(text), Sampling(max_tokens=most))
    generate(load_base(folder, COMPUTE), load_tokenizer(folder), [request])
    return request.text


def predictions(trained: Started, rows: Any, artefact: Path | None, **more: Any) -> list[Any]:
    plan = trained.run.plan()
    prompts = more.pop("prompts", (plan.prompt, plan.prompt))
    tokenizer = load_tokenizer(trained.base)
    return predict(plan.evaluation, rows, trained.base, tokenizer, COMPUTE, prompts, artefact, **more)


def test_the_base_arm_is_the_pristine_base_and_the_other_the_adapter(trained: Started) -> None:
    plan, rows = trained.run.plan(), trained.run.split("test")[:5]
    steps: list[float] = []
    found = predictions(trained, rows, trained.run.artefact, on_progress=steps.append)
    assert [p.row for p in found] == [row.row for row in rows], "in the order of the examples"
    most = plan.evaluation.max_new_tokens
    assert [p.base for p in found] == [said(trained.base, plan.prompt, row.input, most) for row in rows]
    assert [p.tuned for p in found] == [row.output for row in rows], "it has learned them"
    assert steps == sorted(steps) and steps[-1] == 1.0


def test_a_whole_model_answers_for_itself(trained: Started, tmp_path: Path) -> None:
    other = build_tiny_model(tmp_path / "other", seed=5)
    plan, rows = trained.run.plan(), trained.run.split("test")[:3]
    found = predictions(trained, rows, other)
    most = plan.evaluation.max_new_tokens
    assert [p.tuned for p in found] == [said(other, plan.prompt, row.input, most) for row in rows]
    assert all(p.base != p.tuned for p in found)


def test_a_prompt_of_its_own_is_answered_by_the_base(trained: Started) -> None:
    plan, rows = trained.run.plan(), trained.run.split("test")[:3]
    shown = plan.prompt.revised(reason="shown", demonstrations=(Demonstration(input="a", output="b"),))
    found = predictions(trained, rows, None, prompts=(plan.prompt, shown))
    most = plan.evaluation.max_new_tokens
    assert [p.tuned for p in found] == [said(trained.base, shown, row.input, most) for row in rows]


def test_a_row_that_cannot_be_answered_is_kept_and_scored_0(trained: Started) -> None:
    good = trained.run.split("test")[0]
    long = replace(good, input="word " * 1000, row=99)
    first, second = predictions(trained, [long, good], trained.run.artefact)
    assert first.row == 99
    assert "[no answer: The prompt has" in first.base
    assert (first.base_score, first.tuned_score) == (0.0, 0.0)
    assert second.tuned_score == 1.0


@pytest.mark.parametrize("rows", [1, 2])
def test_few_rows(trained: Started, rows: int) -> None:
    assert len(predictions(trained, trained.run.split("test")[:rows], trained.run.artefact)) == rows
