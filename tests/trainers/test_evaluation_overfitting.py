"""Underfit, good, overfit or memorised: curves, gaps, rows said by heart, and other wordings."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from prompts.versions import PromptVersion
from tests.trainers.runs import Started
from trainers.data import Example, Mapping
from trainers.evaluation import gap, perturbing
from trainers.evaluation.arm import Arm, base_arm, tuned_arm
from trainers.evaluation.curves import CURVES, GAP, CurvesProbe, against_overfitting
from trainers.evaluation.losses import read_curves
from trainers.evaluation.memorisation import MemorisationProbe, halved
from trainers.evaluation.probe import Probe, Subject
from trainers.evaluation.records import Gate, Part, Prediction
from trainers.evaluation.remedies import apply
from trainers.evaluation.robustness import RobustnessProbe
from trainers.generate import first_logits
from trainers.hardware import Compute
from trainers.modeling import load_base
from trainers.plan import DataPlan, EvaluationPlan, TrainingPlan

COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)
HOW = EvaluationPlan()
PLAN = TrainingPlan(data=DataPlan(path=Path("rows.csv"), columns=Mapping(input="text", output="label")))


def plan(**fields: Any) -> TrainingPlan:
    return TrainingPlan.model_validate({**PLAN.model_dump(mode="json"), **fields})


def labelled(count: int, start: int = 0) -> tuple[Example, ...]:
    names = ("billing", "returns")
    return tuple(
        Example(n, f"Please help me with letter {n} about {names[n % 2]}", names[n % 2])
        for n in range(start, start + count)
    )


def subject(of: TrainingPlan = PLAN, train: int = 40, test: int = 40, **more: Any) -> Subject:
    return Subject(plan=of, how=HOW, train=labelled(train), dev=(), test=labelled(test, 1000), **more)


def predicted(rows: Sequence[Example], base: Sequence[str], tuned: Sequence[str]) -> list[Prediction]:
    """Both arms' answers to rows, with their scores."""
    return [
        Prediction(
            row=row.row,
            input=row.input,
            expected=row.output,
            base=one,
            tuned=other,
            base_score=float(one == row.output),
            tuned_score=float(other == row.output),
        )
        for row, one, other in zip(rows, base, tuned, strict=True)
    ]


def texts(rows: Sequence[Example], share: float) -> list[str]:
    """Answers of which so large a share is right."""
    return [row.output if i < round(share * len(rows)) else "?" for i, row in enumerate(rows)]


def gate(part: Part, name: str) -> Gate:
    return next(gate for gate in part.gates if gate.name == name)


# The gap


def test_a_gap_has_its_size_and_is_the_tuned_models_own() -> None:
    found = gap.measure([0.0] * 40, [1.0] * 40, [0.0] * 40, [1.0] * 20 + [0.0] * 20)
    assert found.level == "failed"
    assert (found.tuned.value, found.base.value, found.excess.difference) == (0.5, 0.0, 0.5)
    assert 0.3 < found.tuned.low < 0.5 < found.tuned.high < 0.7


def test_rows_that_are_easier_for_the_base_too_are_no_overfitting() -> None:
    easy, hard = [1.0] * 40, [1.0] * 20 + [0.0] * 20
    found = gap.measure(easy, easy, hard, hard)
    assert found.level == "passed"
    assert found.excess.difference == 0


def test_a_gap_of_chance_or_of_no_size_passes() -> None:
    chance = gap.measure([0.0] * 30, [1.0] * 27 + [0.0] * 3, [0.0] * 30, [1.0] * 25 + [0.0] * 5)
    small = gap.measure([0.0] * 1000, [1.0] * 1000, [0.0] * 1000, [1.0] * 970 + [0.0] * 30)
    assert chance.level == small.level == "passed"
    assert small.p_value < 0.001


def test_five_rows_tell_nothing_and_their_interval_says_so() -> None:
    found = gap.measure([0.0] * 40, [1.0] * 40, [0.0] * 5, [1.0] * 5)
    assert found.level == "unknown"
    assert found.tuned.high - found.tuned.low > 0.4


def test_few_of_two_sets_that_have_nothing_apart_seem_to() -> None:
    rng = random.Random(0)
    alarms = 0
    for _ in range(40):
        draw = [
            [float(rng.random() < share) for _ in range(n)] for share, n in ((0.3, 48), (0.8, 48), (0.3, 60), (0.8, 60))
        ]
        alarms += gap.measure(*draw).level != "passed"
    assert alarms <= 2, "one-sided 2.5 % and a size besides"


# The curves


def metrics(
    dev: Sequence[float], *, falls_to: float = 0.1, steps: int = 30, begins: float = 2.0, pace: float = 0.85
) -> list[dict[str, Any]]:
    """Losses of a training with noise, and evaluations at equal distances."""
    rng = random.Random(1)
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        loss = falls_to + (begins - falls_to) * pace**step
        lines.append({"step": step, "loss": loss * rng.uniform(0.8, 1.2)})
        if dev and step % (steps // len(dev)) == 0:
            lines.append({"step": step, "epoch": step * 3 / steps, "eval_loss": dev[step * len(dev) // steps - 1]})
    return lines


@pytest.mark.parametrize(
    ("dev", "more", "shape"),
    [
        ([1.0, 0.5, 0.42], {}, "good"),
        ([0.5, 0.45, 0.48], {}, "good"),
        ([0.020, 0.010, 0.025], {}, "good"),
        ([0.5, 0.7, 0.9], {}, "overfit"),
        ([0.6, 0.4, 0.38, 0.45, 0.52, 0.6], {}, "overfit"),
        ([0.6, 0.4, 0.37, 0.55, 0.38, 0.37], {}, "good"),
        ([1.8, 1.2, 0.7], {}, "falling"),
        ([2.0, 1.99, 1.98], {"falls_to": 1.96}, "flat"),
        ([0.01, 0.01, 0.01], {"falls_to": 0.01, "begins": 0.01}, "good"),
        ([0.5, 0.4, 0.9], {"begins": 0.2, "falls_to": 4.0, "pace": 0.95}, "unsteady"),
        ([0.5], {}, "one evaluation"),
        ([], {}, "no dev rows"),
    ],
)
def test_what_curves_look_like(dev: list[float], more: dict[str, float], shape: str) -> None:
    assert read_curves(metrics(dev, **more)).shape == shape


def test_a_resumed_runs_steps_count_once() -> None:
    twice = read_curves(
        [{"step": 1, "loss": 9.0}, {"step": 1, "loss": 1.0}, {"step": 1, "eval_loss": 2.0, "epoch": 1.0}]
    )
    assert (twice.train, twice.dev) == ({1: 1.0}, {1: 2.0})


def judged(of: Subject, base: tuple[float, float] = (0.0, 0.0), tuned: tuple[float, float] = (1.0, 0.98)) -> Part:
    """The curves' part, where shares of training and test rows are right."""
    probe = CurvesProbe(of)
    return probe.judge(
        texts(probe.rows, base[0]),
        texts(probe.rows, tuned[0]),
        predicted(of.test, texts(of.test, base[1]), texts(of.test, tuned[1])),
    )


def test_a_healthy_run_is_good() -> None:
    part = judged(subject(metrics=metrics([1.0, 0.5, 0.42])))
    assert [gate.level for gate in part.gates] == ["passed", "passed"]
    assert gate(part, CURVES).told.startswith("Good")
    assert [figure.name for figure in part.figures] == ["Score on training rows", "Score on test rows", "Gap"]


def test_overfitting_has_its_step_and_a_plan_that_ends_there() -> None:
    part = judged(subject(metrics=metrics([0.5, 0.7, 0.9])))
    found = gate(part, CURVES)
    assert found.level == "warning"
    assert "Overfit from step 10" in found.told
    plans = [apply(remedy, PLAN) for remedy in found.remedies]
    assert plans[0].training.epochs == 1.0
    assert {(p.strategy.r, p.strategy.dropout) for p in plans if p.strategy.type == "lora"} >= {(2, 0.05), (8, 0.1)}


def test_a_training_that_noticed_and_stopped_passes_unless_its_result_has_a_gap() -> None:
    stopped = plan(training={"epochs": 10, "patience": 2})
    healthy, not_so = (
        judged(subject(stopped, metrics=metrics([0.5, 0.7, 0.9])), tuned=(1.0, share)) for share in (0.98, 0.6)
    )
    assert gate(healthy, CURVES).level == "passed"
    assert "stopped by itself" in gate(healthy, CURVES).told
    assert gate(not_so, CURVES).level == "warning"


@pytest.mark.parametrize("dev", [[], [0.9, 1.2, 1.9]])
def test_memorised_rows_fail_with_and_without_dev_rows(dev: list[float]) -> None:
    lines = metrics(dev, falls_to=0.0, steps=60 if not dev else 120)
    part = judged(subject(metrics=lines), tuned=(1.0, 0.5))
    assert gate(part, GAP).level == "failed"
    assert gate(part, GAP).remedies
    assert gate(part, CURVES).level == "failed"
    assert gate(part, CURVES).told.startswith("Memorised")


@pytest.mark.parametrize("dev", [[1.8, 1.2, 0.7], [2.0, 1.99, 1.98]])
def test_underfit_where_there_is_room_and_not_where_there_is_none(dev: list[float]) -> None:
    lines = metrics(dev, falls_to=0.1 if dev[-1] < 1 else 1.96)
    poor, done = (judged(subject(metrics=lines), tuned=(share, share)) for share in (0.4, 1.0))
    assert gate(poor, CURVES).level == "warning"
    assert gate(poor, CURVES).told.startswith("Underfit")
    assert apply(gate(poor, CURVES).remedies[0], PLAN).training.epochs == 6
    assert gate(done, CURVES).level == "passed"


def test_what_cannot_be_told_is_unknown_and_says_why() -> None:
    dpo = judged(subject(plan(objective={"type": "dpo"}), metrics=metrics([0.5, 0.7, 0.9])))
    shots = judged(subject(plan(strategy={"type": "few_shot"})))
    blind = judged(subject(metrics=metrics([])))
    silent = judged(subject())
    assert {g.level for part in (dpo, shots) for g in part.gates} == {"unknown"}
    assert "DPO" in dpo.gates[0].told
    assert "trained nothing" in shots.gates[0].told
    assert (gate(blind, CURVES).level, gate(blind, GAP).level) == ("unknown", "passed")
    assert (gate(silent, CURVES).level, gate(silent, GAP).level) == ("unknown", "passed")


@pytest.mark.parametrize(
    "strategy",
    [
        {"type": "lora", "r": 4, "init": "orthogonal"},
        {"type": "full"},
        {"type": "prompt_tuning"},
        {"type": "meta_lora"},
        {"type": "qlora"},
    ],
)
def test_every_remedy_is_a_plan(strategy: dict[str, Any]) -> None:
    of = plan(strategy=strategy)
    remedies = against_overfitting(of, 40, 1.0)
    assert remedies[-1].title == "Add rows"
    assert all(apply(remedy, of) != of for remedy in remedies if remedy.changes)
    assert any("training.epochs" in remedy.changes for remedy in remedies) == (strategy["type"] != "meta_lora")


# Word for word

WORDS = ["billing", "delivery", "returns", "account", "technical", "feedback", "support", "ticket", "label", "answer"]


def letters(count: int, seed: int) -> tuple[Example, ...]:
    """Rows whose long answers nobody can guess, of words that the tiny model has as tokens."""
    rng = random.Random(seed)
    inputs, answers = ([" ".join(rng.choice(WORDS) for _ in range(words)) for _ in range(count)] for words in (3, 13))
    return tuple(Example(seed * 100 + n, inputs[n], answers[n]) for n in range(count))


def recalled(words: Sequence[bool]) -> list[dict[str, Any]]:
    return [{"tokens": 20, "recalled": 20 if whole else 3, "text": "x"} for whole in words]


def by_heart(base: Sequence[bool], tuned: Sequence[bool]) -> Part:
    of = Subject(plan=PLAN, how=HOW, train=letters(20, 1), dev=letters(5, 2), test=letters(15, 3))
    return MemorisationProbe(of).judge(recalled(base), recalled(tuned), [])


def test_only_what_exceeds_unseen_rows_and_the_base_is_memory() -> None:
    none, all_ = [False] * 20, [True] * 20
    planted, template, known = (
        by_heart([*none, *none], [*all_, *none]),
        by_heart([*none, *none], [*all_, *all_]),
        by_heart([*all_, *none], [*all_, *none]),
    )
    assert planted.gates[0].level == "failed"
    assert planted.gates[0].remedies
    assert planted.cases[0].title == "Training row 100"
    assert template.gates[0].level == known.gates[0].level == "passed"


def test_labels_are_not_completed_but_long_inputs_are() -> None:
    rows = [
        Example(
            n,
            f"{n} a letter that is long enough to be gone on with, about {n * 37} things that nobody knows",
            "billing",
        )
        for n in range(40)
    ]
    probe = MemorisationProbe(Subject(plan=PLAN, how=HOW, train=tuple(rows[:20]), dev=(), test=tuple(rows[20:])))
    assert (probe.side, len(probe.seen), len(probe.unseen)) == ("input", 20, 20)
    short = MemorisationProbe(subject()).judge([], [], [])
    assert short.gates[0].level == "unknown"
    assert "short answer" in short.gates[0].told


@pytest.mark.parametrize(
    "text", ["one two three four", "onetwothreefour", "a onetwothreefourfivesixseven", "日本語のとても長い文です"]
)
def test_halves_are_the_whole(text: str) -> None:
    half = halved(Example(1, "", text), "answer")
    assert half.given + half.rest == text
    assert min(len(half.given), len(half.rest)) >= len(text) // 4


def fit(arm: Arm, rows: Sequence[Example]) -> None:
    """Every weight trained on the answers until hardly anything is left to learn."""
    asked, said = (
        [arm.tokenizer.encode(text, add_special_tokens=False) for text in texts]
        for texts in ([chat_of(arm, row) for row in rows], [row.output + "<|im_end|>" for row in rows])
    )
    widest = max(len(one) + len(other) for one, other in zip(asked, said, strict=True))
    rest = [widest - len(one) - len(other) for one, other in zip(asked, said, strict=True)]
    batch = torch.tensor([a + b + [0] * n for a, b, n in zip(asked, said, rest, strict=True)])
    goal = torch.tensor([[-100] * len(a) + b + [-100] * n for a, b, n in zip(asked, said, rest, strict=True)])
    optimizer = torch.optim.AdamW(arm.model.parameters(), lr=3e-3)
    arm.model.train()
    for _ in range(300):
        loss = arm.model(input_ids=batch, labels=goal).loss
        if loss.item() < 0.005:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    arm.model.eval()


def chat_of(arm: Arm, row: Example) -> str:
    turns = [message.model_dump() for message in arm.prompt.messages(row.input)]
    return str(arm.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))


@pytest.fixture(scope="module")
def crammed(tiny_model: Path) -> tuple[Subject, Arm, Arm]:
    """A base, and one that learned ten rows by heart."""
    lines = metrics([], falls_to=0.0, steps=60)
    of = Subject(plan=PLAN, how=HOW, train=letters(10, 1), dev=(), test=letters(12, 2), metrics=lines)
    base, tuned = (base_arm(tiny_model, PLAN.prompt, HOW, COMPUTE) for _ in range(2))
    fit(tuned, of.train)
    return of, base, tuned


def test_rows_learned_by_heart_come_word_for_word(crammed: tuple[Subject, Arm, Arm]) -> None:
    of, base, tuned = crammed
    probe = MemorisationProbe(of)
    first, second = (probe.ask(arm, lambda done: None) for arm in (base, tuned))
    part = probe.judge(first, second, [])
    assert part.gates[0].level == "failed"
    assert part.cases[0].tuned == part.cases[0].expected
    assert probe.judge(first, first, []).gates[0].level == "passed"
    for row in of.train[:3]:  # what the probe says comes is what comes
        [said] = tuned.answer([row.input])
        [found] = tuned.recall([(chat_of(tuned, row), row.output)])
        assert found.text == said.text == row.output
        assert found.tokens == found.recalled


def test_rows_learned_by_heart_have_a_gap(crammed: tuple[Subject, Arm, Arm]) -> None:
    of, base, tuned = crammed
    probe = CurvesProbe(of)
    found = [probe.ask(arm, lambda done: None) for arm in (base, tuned)]
    before, after = ([one.text for one in arm.answer([row.input for row in of.test])] for arm in (base, tuned))
    part = probe.judge(*found, predicted(of.test, before, after))
    assert gate(part, GAP).level == "failed"
    assert gate(part, CURVES).told.startswith("Memorised")


@pytest.mark.parametrize("kind", ["base", "lora", "prompt", "prefix"])
def test_recall_sees_the_adapter(tiny_model: Path, tmp_path: Path, kind: str) -> None:
    arm = adapted(tiny_model, tmp_path, kind)
    words = [i for i in range(len(arm.tokenizer)) if (text := arm.tokenizer.decode([i])).isascii() and text.isalnum()]
    with torch.no_grad():  # else a random model begins with bytes that are no text
        head = arm.model.get_output_embeddings().weight
        head[[i for i in range(len(head)) if i not in words]] = 0
    for n in range(5):
        row = Example(n, f"letter {n}", "")
        logits = first_logits(arm.model, arm.tokenizer, [arm.prompt.messages(row.input)], arm.adapter)[0]
        ranked = sorted(words, key=lambda index: -logits[index])
        chat = chat_of(arm, row)
        found = arm.recall([(chat, arm.tokenizer.decode([index])) for index in ranked[:2]])
        assert [(one.tokens, one.recalled) for one in found] == [(1, 1), (1, 0)]


def adapted(folder: Path, place: Path, kind: str) -> Arm:
    """An arm with an adapter of random values, so large that it says something else than the base."""
    arm = base_arm(folder, PromptVersion(), HOW, COMPUTE)
    if kind == "base":
        return arm
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model

    kinds = {
        "lora": lambda: LoraConfig(target_modules="all-linear", init_lora_weights="gaussian", task_type="CAUSAL_LM"),
        "prompt": lambda: PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
        "prefix": lambda: PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    }
    torch.manual_seed(0)
    model = get_peft_model(load_base(folder, COMPUTE), kinds[kind]())
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(place)
    return tuned_arm(arm, place, PromptVersion(), COMPUTE)


# Other wordings


def test_slips_leave_kept_words_numbers_and_first_letters() -> None:
    text = "Please deliver order 4711 to {{Home Street}} (today), I have waited for the delivery since Tuesday morning."
    keep = perturbing.words_of("delivery")
    seen = {perturbing.with_typos(text, random.Random(n), keep) for n in range(50)}
    assert len(seen) > 20
    for changed in seen:
        before, after = text.split(), changed.split()
        assert len(before) == len(after)
        slips = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert len(slips) == 1
        assert all(a[:1] == b[:1] and a not in ("delivery", "4711") for a, b in slips)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My Card was Stolen", "my Card was stolen"),
        ("my card was stolen", "My card Was Stolen"),
        ("WHERE is IT?", "where is it?"),
        ("12345", "12345"),
        ("", ""),
    ],
)
def test_other_capitals(text: str, expected: str) -> None:
    assert perturbing.with_other_capitals(text, perturbing.words_of("card")) == expected


def test_a_text_without_a_plain_word_has_no_slip() -> None:
    assert perturbing.with_typos("a 12 b@c.de", random.Random(0)) == "a 12 b@c.de"


def worded(of: Subject, base: tuple[float, float], tuned: tuple[float, float]) -> Part:
    """Shares of right answers before and after the rows were put differently."""
    probe = RobustnessProbe(of)
    rows = [changed.row for changed in probe.rows]
    return probe.judge(
        texts(rows, base[1]),
        texts(rows, tuned[1]),
        predicted(of.test, texts(of.test, base[0]), texts(of.test, tuned[0])),
    )


@pytest.mark.parametrize(
    ("base", "tuned", "level"),
    [
        ((0.0, 0.0), (1.0, 0.4), "failed"),
        ((0.5, 0.5), (1.0, 0.8), "warning"),
        ((0.5, 0.5), (1.0, 0.95), "passed"),
        ((0.9, 0.5), (1.0, 0.6), "passed"),
        ((0.5, 0.5), (0.9, 1.0), "passed"),
    ],
)
def test_only_what_the_base_does_not_lose_too_is_overfitting(
    base: tuple[float, float], tuned: tuple[float, float], level: str
) -> None:
    part = worded(subject(), base, tuned)
    assert part.gates[0].level == level
    assert bool(part.gates[0].remedies) == (level != "passed")
    assert bool(part.cases) == (tuned[1] < tuned[0])


def test_paraphrases_are_asked_where_there_are_enough() -> None:
    test = labelled(40, 1000)
    few, many = ({row.row: f"In other words: {row.input}" for row in test[:n]} for n in (3, 20))
    assert not RobustnessProbe(subject(paraphrases=few)).in_other_words
    probe = RobustnessProbe(subject(paraphrases=many))
    assert [changed.text for changed in probe.rows] == list(many.values())


def test_rows_are_put_differently_in_the_same_way_again_and_keep_their_label() -> None:
    first, again = (RobustnessProbe(subject()).rows for _ in range(2))
    assert first == again
    assert all(changed.text != changed.row.input and changed.row.output in changed.text for changed in first)


def test_five_test_rows_tell_nothing() -> None:
    part = worded(subject(test=5), (0.0, 0.0), (1.0, 0.0))
    assert part.gates[0].level == "unknown"
    assert "5 test rows" in part.gates[0].told


# Whole


@pytest.mark.parametrize("kind", [CurvesProbe, MemorisationProbe, RobustnessProbe])
def test_a_healthy_run_passes(trained: Started, kind: type[Probe]) -> None:
    run = trained.run
    of = Subject(
        plan=run.plan(),
        how=HOW,
        train=run.split("train"),
        dev=run.split("dev"),
        test=run.split("test"),
        metrics=run.metrics(),
        artefact=run.artefact,
    )
    probe = kind(of)
    first = base_arm(trained.base, of.plan.prompt, HOW, COMPUTE)
    inputs = [row.input for row in of.test]
    base, before = probe.ask(first, lambda done: None), first.answer(inputs)
    second = tuned_arm(first, of.artefact, of.plan.prompt, COMPUTE)
    tuned, after = probe.ask(second, lambda done: None), second.answer(inputs)
    said = ([one.text for one in answers] for answers in (before, after))
    part = probe.judge(base, tuned, predicted(of.test, *said))
    assert {gate.level for gate in part.gates} <= {"passed", "unknown"}, part.gates
    assert kind is MemorisationProbe or "unknown" not in {gate.level for gate in part.gates}
    assert Part.model_validate_json(part.model_dump_json()) == part
