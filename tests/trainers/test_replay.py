"""General examples that the base answers itself, mixed into the training rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prompts.chat_model import Message, Sampling
from prompts.errors import PlanError
from trainers import replay
from trainers.building import build_trainer
from trainers.generate import Request, generate
from trainers.hardware import Compute
from trainers.jobs import create_run
from trainers.modeling import load_base, load_tokenizer
from trainers.objectives import DpoObjective, SftObjective
from trainers.paths import Paths
from trainers.plan import MOST_GENERAL_ROWS, TrainingPlan, parse_plan
from trainers.replay import asked, general_prompts, rehearsal
from trainers.script import write_script
from trainers.strategies import FewShotStrategy, MetaLoraStrategy

Plans = Callable[..., TrainingPlan]
COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)


def with_general(plan: TrainingPlan, rows: int, **more: Any) -> TrainingPlan:
    data = plan.data.model_copy(update={"general_rows": rows})
    return parse_plan({**plan.model_copy(update={"data": data}).model_dump(mode="json"), **more})


@pytest.fixture
def speaks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A tiny model's words are no sentences: here it says what it is asked, in one. The list gets the questions."""
    from trainers import generate

    questions: list[str] = []

    def say(model: Any, tokenizer: Any, requests: Any, **options: Any) -> None:
        model.eval()
        for request in requests:
            [turn] = request.messages
            questions.append(turn.content)
            request.text, request.finish_reason = f"You asked: {turn.content}", "stop"

    monkeypatch.setattr(generate, "generate", say)
    return questions


class _Silent:
    """Stands for a model where nobody generates."""

    training = True

    def eval(self) -> None: ...

    def train(self, mode: bool) -> None: ...


def built(plan: TrainingPlan, paths: Paths) -> tuple[Any, Any]:
    folder, run = Path(plan.base_model), create_run(plan, paths)
    model, tokenizer = load_base(folder, COMPUTE, training=True), load_tokenizer(folder)
    return build_trainer(plan, run, model, tokenizer, COMPUTE, []), run


def test_there_are_enough_questions_and_none_twice() -> None:
    assert len(general_prompts()) == len(set(general_prompts())) >= MOST_GENERAL_ROWS + 20


@pytest.mark.parametrize("packing", [False, True])
def test_they_are_trained_on_beside_the_task(tiny_plan: Plans, paths: Paths, speaks: list[str], packing: bool) -> None:
    plan = with_general(tiny_plan(epochs=0.5, max_tokens=512), 10, objective=SftObjective(packing=packing).model_dump())
    trainer, run = built(plan, paths)
    assert len(speaks) == 10
    text = "".join(trainer.processing_class.decode(row["input_ids"]) for row in trainer.train_dataset)
    for question in speaks:
        wanted = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\nYou asked: {question}<|im_end|>"
        assert wanted in text, "without the task's prompt"
    assert all(f"{row.input}<|im_end|>" in text for row in run.split("train"))
    dev = "".join(trainer.processing_class.decode(row["input_ids"]) for row in trainer.eval_dataset)
    assert "You asked" not in dev, "the dev rows stay the task's"
    trainer.train()


def test_a_resumed_run_goes_on_with_the_same(tiny_plan: Plans, paths: Paths, speaks: list[str]) -> None:
    plan = with_general(tiny_plan(), 20)
    _, run = built(plan, paths)
    again = rehearsal(plan, run, None, None, COMPUTE)  # asks no model
    assert len(again) == 20
    assert [row["prompt"][0]["content"] for row in again] == speaks[:20]


def test_without_them_nobody_is_asked(tiny_plan: Plans, paths: Paths, speaks: list[str]) -> None:
    _, run = built(tiny_plan(), paths)
    assert not speaks
    assert not (run.path / "rehearsal.jsonl").exists()


def test_a_real_model_answers_for_itself(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random tiny model ends hardly any answer, and says no sentence; here anything counts."""
    monkeypatch.setattr(replay, "general_prompts", lambda: ("One?", "Two?", "Three?"))
    monkeypatch.setattr(replay, "TOKENS", 8)
    monkeypatch.setattr(replay, "_usable", lambda text, ended: text)
    model, tokenizer = load_base(tiny_model, COMPUTE, training=True), load_tokenizer(tiny_model)
    model.train()
    rows = asked(model, tokenizer, 2, 0)
    assert model.training, "the mode is as it was"
    assert asked(model, tokenizer, 2, 0) == rows
    assert len(rows) == 2
    said = []
    for row in rows:
        request = Request([Message(role="user", content=row["prompt"][0]["content"])], Sampling(max_tokens=8))
        generate(model, tokenizer, [request])
        said.append([{"role": "assistant", "content": request.text}])
    assert [row["completion"] for row in rows] == said


def test_where_an_answer_is_of_no_use_another_question_is_asked(
    monkeypatch: pytest.MonkeyPatch, speaks: list[str]
) -> None:
    monkeypatch.setattr(replay, "_usable", lambda text, ended: text if "French" in text else "")
    assert len(asked(_Silent(), None, 3, 0)) == 3 < len(speaks)
    assert len(asked(_Silent(), None, 100, 0)) == sum("French" in text for text in general_prompts())


def test_fewer_than_asked_for_are_told(tiny_plan: Plans, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "asked", lambda *given: [replay._row("One?", "Yes.")])
    plan = with_general(tiny_plan(), 5)
    run = create_run(plan, paths)
    assert len(rehearsal(plan, run, None, None, COMPUTE)) == 1
    assert "only 1 general question" in run.written_status().notes[0]


def test_an_answer_that_is_cut_ends_with_its_last_whole_sentence() -> None:
    assert replay._usable("One. Two! And then", ended=False) == "One. Two!"
    assert replay._usable("Version 3.5 of the", ended=False) == ""
    assert replay._usable(" yes\n", ended=True) == "yes"


def test_a_base_that_answers_nothing_is_told_and_trained_all_the_same(
    tiny_plan: Plans, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "asked", lambda *given: [])
    plan = with_general(tiny_plan(), 5)
    run = create_run(plan, paths)
    assert rehearsal(plan, run, None, None, COMPUTE) == []
    assert "answers no general question" in run.written_status().notes[0]


@pytest.mark.parametrize(
    "change",
    [
        {"objective": DpoObjective().model_dump()},
        {"strategy": FewShotStrategy().model_dump()},
        {"strategy": MetaLoraStrategy().model_dump()},
    ],
)
def test_only_a_training_on_examples_takes_them(tiny_plan: Plans, change: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"data\.general_rows"):
        with_general(tiny_plan(), 5, **change)


@pytest.mark.parametrize("rows", [-1, MOST_GENERAL_ROWS + 1])
def test_there_is_a_most(tiny_plan: Plans, rows: int) -> None:
    with pytest.raises(PlanError, match=r"data\.general_rows"):
        with_general(tiny_plan(), rows)


def test_a_plain_script_refuses_them(tiny_plan: Plans, measured_paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"data\.general_rows") as caught:
        write_script(with_general(tiny_plan(), 5), measured_paths, tmp_path / "out", COMPUTE)
    assert "tunewright train" in caught.value.hint
    assert not (tmp_path / "out").exists()
