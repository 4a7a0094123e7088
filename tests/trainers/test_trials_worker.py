"""Tries on one shared base: what they learn, what they are asked, and that the base is afterwards what it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prompts.allowed import Allowed
from prompts.versions import PromptVersion
from trainers.data import Example
from trainers.dataset import load_dataset
from trainers.evaluation.arm import Arm
from trainers.jobs import list_runs, splits_for
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.splits import Splits
from trainers.status import RunFolder
from trainers.strategies import (
    AnyStrategy,
    FewShotStrategy,
    FullStrategy,
    LoraStrategy,
    MetaLoraStrategy,
    PromptStrategy,
    PromptTuningStrategy,
)
from trainers.trials.carrying import carry, run_in_full
from trainers.trials.records import Candidate, Try
from trainers.trials.runs import Trial, begin, plan_of
from trainers.trials.scoring import Memory, Said, ask, choices_of
from trainers.trials.sharing import Shared, open_shared
from trainers.worker import Work

Plans = Callable[..., TrainingPlan]
LABELS = ("billing", "returns")
HELD = PromptVersion(system="label the support ticket", allowed=Allowed(choices=LABELS))


def candidate(plan: TrainingPlan, strategy: AnyStrategy, **more: Any) -> Candidate:
    key = more.pop("key", strategy.type)
    return Candidate(
        key=key, title=strategy.brief, plan=plan.model_copy(update={"strategy": strategy}), **more, price=1
    )


@pytest.fixture
def plan(tiny_plan: Plans) -> TrainingPlan:
    return tiny_plan(epochs=1, gradient_checkpointing=True).model_copy(update={"prompt": HELD})


@pytest.fixture
def splits(plan: TrainingPlan) -> Splits:
    return splits_for(plan, load_dataset(plan.data.path, plan.data.columns))


@pytest.fixture
def shared(plan: TrainingPlan, measured_paths: Paths) -> Shared:
    return open_shared(plan, measured_paths)


EVERY: list[AnyStrategy] = [
    PromptStrategy(),
    FewShotStrategy(examples=2),
    LoraStrategy(r=4),
    LoraStrategy(r=2, init="pissa"),  # alters the base, and so loads its own
    PromptTuningStrategy(num_virtual_tokens=4),
    MetaLoraStrategy(r=4, rounds=2, inner_steps=1, ways=2, shots=2, adaptation_steps=2),
    FullStrategy(),
]


def test_whatever_is_tried_the_base_stays_bit_for_bit_what_it_was(
    plan: TrainingPlan, splits: Splits, shared: Shared, measured_paths: Paths
) -> None:
    before = shared.fingerprint
    modules = {name: type(module) for name, module in shared.pair()[0].named_modules()}
    seen = {}
    for strategy in EVERY:
        found = run_in_full(candidate(plan, strategy), splits.train, splits.dev, shared, measured_paths)
        assert not found.failed, (strategy, found.failed)
        run = RunFolder(measured_paths.runs / found.run)
        assert run.written_status().state == "done" and run.has_result
        assert (run.artefact is not None) == strategy.trains
        assert set(found.scores) == {row.row for row in splits.dev} == set(found.certainty)
        assert set(found.scores.values()) <= {0.0, 1.0} and max(found.certainty.values()) < 0
        assert bool(found.losses) == (strategy.trains and strategy.by_trl) and 0 < found.score_seconds < found.seconds
        assert found.seconds > 0 and found.cpu_seconds > 0 and found.memory_gb > 0
        assert (found.train_seconds > 0 and found.tokens > 0) or not strategy.by_trl or not strategy.trains
        seen[strategy.brief] = found.certainty
        assert shared.fingerprint == before, f"{strategy.brief} moved the base"
    assert {name: type(module) for name, module in shared.pair()[0].named_modules()} == modules
    assert len({str(sorted(certain.items())) for certain in seen.values()}) == len(EVERY), "each was asked as itself"
    again = run_in_full(candidate(plan, PromptStrategy()), splits.train, splits.dev, shared, measured_paths)
    assert again.certainty == seen["Prompt alone"], "and answers as it did"


def test_what_is_learned_is_what_a_run_of_its_own_learns(
    plan: TrainingPlan, splits: Splits, shared: Shared, measured_paths: Paths
) -> None:
    """Also after other things were tried on the same base."""
    lora = candidate(plan, LoraStrategy(r=4))
    for strategy in (PromptTuningStrategy(num_virtual_tokens=4), LoraStrategy(r=8)):
        run_in_full(candidate(plan, strategy), splits.train[:8], splits.dev[:2], shared, measured_paths)
    tried = run_in_full(lora, splits.train, splits.dev, shared, measured_paths)
    own = begin(lora, Trial(tried=Try(key="lora", portion=1.0)), splits.train, splits.dev, measured_paths)
    Work(own, measured_paths).make(shared.base, shared.compute)
    weights = [run.adapter / "adapter_model.safetensors" for run in (RunFolder(measured_paths.runs / tried.run), own)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_an_option_that_fails_says_why_and_the_next_one_is_tried(
    plan: TrainingPlan, splits: Splits, shared: Shared, measured_paths: Paths
) -> None:
    too_wide = candidate(plan, LoraStrategy(r=512))
    found = run_in_full(too_wide, splits.train, splits.dev, shared, measured_paths)
    assert "rank 512 is above the width" in found.failed and not found.scores
    run = RunFolder(measured_paths.runs / found.run)
    assert run.written_status().state == "failed" and run.written_status().hint
    assert not run_in_full(candidate(plan, PromptStrategy()), splits.train, splits.dev, shared, measured_paths).failed


def test_what_is_raised_to_end_a_try_passes_within_a_step(
    plan: TrainingPlan, splits: Splits, shared: Shared, measured_paths: Paths
) -> None:
    class Enough(BaseException):
        pass

    told: list[str] = []

    def watch(message: str, fraction: float) -> None:
        told.append(message)
        if message.startswith("Step 3 of"):
            raise Enough

    lora = candidate(plan, LoraStrategy(r=4))
    with pytest.raises(Enough):
        run_in_full(lora, splits.train, splits.dev, shared, measured_paths, watch=watch)
    assert told[-1].startswith("Step 3 of") and not any(message.startswith("Step 4") for message in told)
    before = shared.fingerprint
    assert not run_in_full(lora, splits.train, splits.dev, shared, measured_paths).failed
    assert shared.fingerprint == before


def test_out_of_memory_is_a_try_that_failed(
    plan: TrainingPlan, splits: Splits, shared: Shared, measured_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **named: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    shared.pair()
    monkeypatch.setattr("trainers.trials.carrying.ask", full)
    found = run_in_full(candidate(plan, PromptStrategy()), splits.train, splits.dev, shared, measured_paths)
    assert found.failed == "Memory ran out."


def test_the_best_wording_is_found_on_the_learned_rows_alone(
    plan: TrainingPlan, splits: Splits, shared: Shared, measured_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny model knows nothing; so the prompts are told apart by how sure it is, and asked rows are looked for."""
    asked: list[tuple[str, int]] = []

    def spy(arm: Arm, rows: Sequence[Example], labels: Sequence[str], *more: Any) -> list[Said]:
        asked.extend((arm.prompt.id, row.row) for row in rows)
        return [Said(float(arm.prompt.system == "good"), -1.0) for _ in rows]

    monkeypatch.setattr("trainers.trials.wording.ask", spy)
    others = tuple(HELD.revised(reason="another", system=words) for words in ("bad", "good", "worse"))
    several = candidate(plan, PromptStrategy(), wordings=others)
    found = run_in_full(several, splits.train, splits.dev, shared, measured_paths)
    assert found.prompt is not None and found.prompt.id == others[1].id
    run = RunFolder(measured_paths.runs / found.run)
    assert run.result_prompt().id == others[1].id and run.plan().prompt.id == HELD.id
    assert {row for _, row in asked} <= {row.row for row in splits.train}
    trained = run_in_full(
        candidate(plan, LoraStrategy(r=4), wordings=others), splits.train, splits.dev, shared, measured_paths
    )
    assert RunFolder(measured_paths.runs / trained.run).plan().prompt.id == others[1].id


def test_few_shot_shows_rows_of_its_portion_and_the_base_is_asked_once(
    plan: TrainingPlan, splits: Splits, shared: Shared, measured_paths: Paths, tmp_path: Path
) -> None:
    memory = Memory(tmp_path / "answers.jsonl")
    few = candidate(plan, FewShotStrategy(examples=4))
    for learn in (splits.train[:6], splits.train[:6], splits.train[:12]):
        trial = Trial(trials="t", tried=Try(key="few_shot", portion=0.5), labels=LABELS)
        run = begin(few, trial, learn, splits.dev, measured_paths)
        assert not carry(run, shared, measured_paths, memory=memory).failed
        shown = {example.input for example in run.result_prompt().demonstrations}
        assert len(shown) == 4 and shown <= {row.input for row in learn}
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert len(lines) == len(splits.dev) * len({run.result_prompt().id for run in list_runs(measured_paths)})
    with (tmp_path / "answers.jsonl").open("a") as file:
        file.write('["cut o')
    kept = Memory(tmp_path / "answers.jsonl")
    arm = Arm("base", None, None, run.result_prompt(), plan.evaluation)  # there is no model to be asked
    assert [said.score for said in ask(arm, splits.dev, LABELS, lambda share: None, kept)]


def test_free_answers_are_scored_as_they_are_said(shared: Shared, plan: TrainingPlan, splits: Splits) -> None:
    free = PromptVersion(system="label the support ticket")
    model, tokenizer = shared.pair()
    arm = Arm("base", model, tokenizer, free, plan.evaluation)
    assert choices_of(free, "exact match", LABELS) == () and choices_of(HELD, "exact match", LABELS) == LABELS
    assert choices_of(HELD, "chrF", LABELS) == () and choices_of(HELD, "exact match", ("other",)) == ()
    said = arm.answer([row.input for row in splits.dev])
    rows = [replace(row, output=answer.text.strip()) for row, answer in zip(splits.dev, said, strict=True)]
    rows = [row for row in rows if row.output][:4]
    longest = arm.how.model_copy(update={"metric": "chrF"})
    found = ask(replace(arm, how=longest), rows, (), lambda share: None)
    assert all(one.score == pytest.approx(1.0) for one in found), "the right answer is what it says"
    assert all(one.certainty is not None and one.certainty < 0 for one in found)
    wrong = ask(arm, [replace(row, output="billing") for row in rows], LABELS, lambda share: None)
    assert all(one.score == 0.0 for one in wrong)
    too_long = replace(rows[0], input="word " * 2000)
    assert ask(arm, [too_long, rows[0]], (), lambda share: None)[0] == Said(0.0, None), "and costs no other its answer"


def test_a_portion_is_meta_learned_from_with_the_episodes_that_it_fills(plan: TrainingPlan, splits: Splits) -> None:
    wanted = MetaLoraStrategy(ways=5, shots=4)
    plan = plan.model_copy(update={"strategy": wanted})

    def fitted(count: int, **more: Any) -> tuple[int, int]:
        rows = [row for label in LABELS for row in [row for row in splits.train if row.output == label][:count]]
        asked = plan.model_copy(update={"strategy": wanted.model_copy(update=more)})
        strategy = plan_of(asked, rows).strategy
        assert isinstance(strategy, MetaLoraStrategy)
        return strategy.ways, strategy.shots

    assert fitted(6) == (2, 4) and fitted(3) == (2, 3)
    assert fitted(3, algorithm="fomaml", outer_rate=1e-3) == (2, 1), "these are asked other rows than they learn from"
    alone = plan_of(plan, [row for row in splits.train if row.output == "billing"])
    assert alone.strategy == wanted, "the training says what is lacking"
    assert (alone.data.shares.dev, alone.data.shares.train) == (0.0, pytest.approx(0.7))
