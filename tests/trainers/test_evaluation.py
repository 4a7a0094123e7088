"""Base and result with what was saved: arms, the examination as a whole, its report, and what a cut-off one keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prompts.chat_model import Message, Sampling
from prompts.errors import DataError, EngineError, ModelError, RunError
from prompts.spec import TaskSpec
from prompts.versions import Demonstration, PromptVersion
from tests.tiny import build_tiny_model
from tests.trainers.runs import Started, wait_until_ended
from trainers import jobs
from trainers.evaluation import examine as examining
from trainers.evaluation import quality
from trainers.evaluation.arm import Answer, Arm, base_arm, tuned_arm
from trainers.evaluation.examine import examine
from trainers.evaluation.probe import OnProgress, Probe
from trainers.evaluation.records import Gate, Part, Prediction
from trainers.evaluation.remedies import apply, fewer_epochs, lower_rank, more_dropout
from trainers.evaluation.verdict import verdict
from trainers.generate import Request, generate
from trainers.hardware import Compute
from trainers.modeling import load_base, load_tokenizer
from trainers.models import resolve
from trainers.plan import EvaluationPlan, TrainingPlan
from trainers.status import RunFolder

COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)
Plans = Callable[..., TrainingPlan]


def said(folder: Path, prompt: PromptVersion, text: str, most: int) -> str:
    request = Request(prompt.messages(text), Sampling(max_tokens=most))
    generate(load_base(folder, COMPUTE), load_tokenizer(folder), [request])
    return request.text


def both(trained: Started, artefact: Path | None, prompt: PromptVersion | None = None) -> tuple[Arm, Callable[[], Arm]]:
    plan = trained.run.plan()
    base = base_arm(trained.base, plan.prompt, plan.evaluation, COMPUTE)
    return base, lambda: tuned_arm(base, artefact, prompt or plan.prompt, COMPUTE)


# Arms


def test_the_base_arm_is_the_pristine_base_and_the_other_the_adapter(trained: Started) -> None:
    plan, rows = trained.run.plan(), trained.run.split("test")[:5]
    base, tuned = both(trained, trained.run.artefact)
    most, steps = plan.evaluation.max_new_tokens, list[float]()
    answers = base.answer([row.input for row in rows], on_progress=steps.append)
    assert [a.text for a in answers] == [said(trained.base, plan.prompt, row.input, most) for row in rows]
    learned = tuned().answer([row.input for row in rows])
    assert [a.text for a in learned] == [row.output for row in rows], "it has learned them, in their order"
    assert steps == sorted(steps) and steps[-1] == 1.0


def test_a_whole_model_answers_for_itself(trained: Started, tmp_path: Path) -> None:
    other = build_tiny_model(tmp_path / "other", seed=5)
    plan, rows = trained.run.plan(), trained.run.split("test")[:3]
    _, tuned = both(trained, other)
    most = plan.evaluation.max_new_tokens
    answers = tuned().answer([row.input for row in rows])
    assert [a.text for a in answers] == [said(other, plan.prompt, row.input, most) for row in rows]


def test_a_prompt_of_its_own_is_answered_by_the_base(trained: Started) -> None:
    plan, rows = trained.run.plan(), trained.run.split("test")[:3]
    shown = plan.prompt.revised(reason="shown", demonstrations=(Demonstration(input="a", output="b"),))
    _, tuned = both(trained, None, shown)
    most = plan.evaluation.max_new_tokens
    answers = tuned().answer([row.input for row in rows])
    assert [a.text for a in answers] == [said(trained.base, shown, row.input, most) for row in rows]


def test_a_row_that_cannot_be_answered_costs_no_other_its_answer(trained: Started) -> None:
    good = trained.run.split("test")[0]
    _, tuned = both(trained, trained.run.artefact)
    first, second = tuned().answer(["word " * 1000, good.input])
    assert first.text == "" and first.failed.startswith("The prompt has")
    assert second == Answer(good.output)


def test_a_row_that_takes_too_long_is_a_failure(trained: Started) -> None:
    base, _ = both(trained, None)
    base.how = base.how.model_copy(update={"row_seconds": 1e-9})
    [answer] = base.answer(["hello"])
    assert answer.failed == "no answer within 1e-09 s"


def test_a_row_that_crashes_a_library_is_a_failure(trained: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: Any, tokenizer: Any, requests: Sequence[Request], **more: Any) -> None:
        if any("bad" in r.messages[-1].content for r in requests):
            raise RuntimeError("shape mismatch")
        generate(model, tokenizer, requests, **more)

    monkeypatch.setattr("trainers.evaluation.arm.generate", broken)
    base, _ = both(trained, None)
    good, bad = base.answer(["good", "bad"])
    assert bad == Answer("", "RuntimeError: shape mismatch") and not good.failed


def test_likelihoods_are_the_models_own(trained: Started) -> None:
    base, tuned = both(trained, trained.run.artefact)
    texts = ["the support ticket", "billing and returns, and the account of it"]
    tokenizer, model = load_tokenizer(trained.base), load_base(trained.base, COMPUTE)
    for text, found in zip(texts, base.likelihoods(texts), strict=True):
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]])
        with torch.inference_mode():
            loss = model(input_ids=ids, labels=ids).loss
        assert found.tokens == ids.shape[1] - 1
        assert found.sum == pytest.approx(-float(loss) * found.tokens, rel=1e-4)
    before = base.likelihoods(texts)
    assert tuned().likelihoods(texts) != before


# The examination


class Loud(Probe):
    """A probe for tests: asks both arms one thing, and is happy where they differ."""

    name, title, group = "curves", "Loudness", "overfitting"

    def ask(self, arm: Arm, on_progress: OnProgress) -> list[Any]:
        [answer] = arm.reply([[Message(role="user", content="hello")]], Sampling(max_tokens=4))
        on_progress(1.0)
        return [answer.text]

    def judge(self, base: list[Any], tuned: list[Any], predictions: Sequence[Prediction]) -> Part:
        level: Any = "passed" if base != tuned else "failed"
        gate = Gate(name="loud", level=level, told=f"{base} and {tuned}, beside {len(predictions)} rows.")
        return Part(probe=self.name, title=self.title, group=self.group, asked="hello", gates=(gate,))


class Broken(Loud):
    name, title = "general", "Brokenness"

    def ask(self, arm: Arm, on_progress: OnProgress) -> list[Any]:
        if arm.name == "tuned":
            raise EngineError("Soft prompts are too soft for this.")
        return super().ask(arm, on_progress)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "PROBES", {"curves": Loud, "general": Broken})


def a_copy(trained: Started, tmp_path: Path, **how: Any) -> RunFolder:
    """The trained run without its report, to be examined otherwise."""
    import shutil

    run = RunFolder(shutil.copytree(trained.run.path, tmp_path / "run"))
    (run.path / "evaluation.json").unlink()
    run.write_how(EvaluationPlan.model_validate({"probes": ("curves", "general"), "few_shot": 2, **how}))
    return run


def examined(run: RunFolder, trained: Started) -> list[tuple[float, str]]:
    steps: list[tuple[float, str]] = []
    base = resolve(str(trained.base), trained.paths)
    examine(run, base, COMPUTE, lambda fraction, told: steps.append((fraction, told)))
    return steps


@pytest.mark.usefixtures("probes")
def test_the_report_has_all_arms_on_the_same_rows_and_what_the_probes_found(trained: Started, tmp_path: Path) -> None:
    other = PromptVersion(system="Say billing or returns.")
    run = a_copy(trained, tmp_path, prompts={"best prompt": other})
    steps = examined(run, trained)
    report = run.report()
    assert report is not None and report.verdict is not None
    assert [arm.name for arm in report.arms] == ["base", "base, best prompt", "base, few-shot", "tuned"]
    assert {arm.score.n for arm in report.arms} == {20} and report.arms[1].prompt_id == other.id
    assert all(arm.change and arm.change.verdict == "better" for arm in report.arms[:-1])
    assert set(run.predictions()[0].others) == {"base, best prompt", "base, few-shot"}
    assert {c.arm: c.n for c in report.calibration} == {"base": 20, "tuned": 20}
    base, tuned = report.calibration
    assert sum(one.right for one in tuned.bins) == 20 and tuned.brier < 0.1 < base.brier, "right, and sure of it"
    assert [c.counts for c in report.confusion][1] == ((10, 0, 0), (0, 10, 0))
    assert sum(map(sum, report.confusion[0].counts)) == 20, "what is no label is counted too"
    loud, broken = report.parts
    assert loud.gates[0].level == "passed"
    assert broken.gates[0].level == "unknown" and "too soft for this" in broken.gates[0].told
    assert [fraction for fraction, _ in steps] == sorted(fraction for fraction, _ in steps)
    assert not run.asked.exists()


@pytest.mark.usefixtures("probes")
def test_an_examination_that_was_cut_off_goes_on(
    trained: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_copy(trained, tmp_path)
    asked: list[str] = []
    answer = Arm.answer

    def watched(self: Arm, inputs: Sequence[str], **more: Any) -> list[Answer]:
        asked.append(self.name)
        if self.name == "tuned" and len(asked) == 3:
            raise KeyboardInterrupt
        return answer(self, inputs, **more)

    monkeypatch.setattr(Arm, "answer", watched)
    with pytest.raises(KeyboardInterrupt):
        examined(run, trained)
    assert asked == ["base", "base", "tuned"] and run.report() is None
    examined(run, trained)
    assert asked == ["base", "base", "tuned", "tuned"], "the base is not asked again"
    assert run.report() is not None


@pytest.mark.usefixtures("probes")
def test_where_nothing_was_trained_the_weights_are_not_probed(trained: Started, tmp_path: Path) -> None:
    run = a_copy(trained, tmp_path)
    (run.adapter / "adapter_config.json").unlink()
    run.write_prompt(PromptVersion(system="x"))
    examined(run, trained)
    report = run.report()
    assert report and [part.gates[0].told for part in report.parts] == [
        "Nothing was trained: the base's own weights answer."
    ] * 2  # fmt: skip


@pytest.mark.usefixtures("probes")
def test_five_test_rows_say_that_they_are_too_few(trained: Started, tmp_path: Path) -> None:
    run = a_copy(trained, tmp_path, probes=(), few_shot=0)
    run.write_split("test", run.split("test")[:5])
    examined(run, trained)
    report = run.report()
    assert report and report.verdict
    [gate] = [gate for gate in report.gates if gate.name == "enough test rows"]
    assert gate.level == "warning" and "5 test rows" in gate.told and "too wide" in gate.told
    assert report.verdict.level == "warning"


def test_one_label_only_is_said(trained: Started, tmp_path: Path) -> None:
    run = a_copy(trained, tmp_path, probes=(), few_shot=0)
    rows = [row for row in run.split("test") if row.output == "billing"]
    run.write_split("test", tuple(rows))
    examined(run, trained)
    report = run.report()
    assert report
    [gate] = [gate for gate in report.gates if gate.name == "every label"]
    assert gate.level == "warning" and "All 10 test rows have the answer 'billing'" in gate.told


# From outside


def test_a_result_is_examined_anew_by_a_worker(
    trained: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_copy(trained, tmp_path, probes=(), few_shot=0)
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(trained.paths.home))
    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(trained.paths.cache))
    jobs.evaluate(run, trained.paths)
    with pytest.raises(RunError, match="goes on"):
        jobs.evaluate(run, trained.paths)
    assert wait_until_ended(run).state == "done", run.log_tail()
    report = run.report()
    assert report and report.tuned.value > 0.9


def test_what_cannot_be_examined_says_why(trained: Started, tmp_path: Path) -> None:
    run = a_copy(trained, tmp_path)
    state = (run.path / "status.json").read_text()
    plan = run.plan()
    (run.path / "plan.yaml").write_text(plan.model_copy(update={"base_model": str(tmp_path / "gone")}).to_yaml())
    with pytest.raises(ModelError, match="gone"):
        jobs.evaluate(run, trained.paths)
    (run.path / "plan.yaml").write_text(plan.to_yaml())
    run.write_split("test", ())
    with pytest.raises(DataError, match="no test rows: none of the rows that were held out has an answer"):
        jobs.evaluate(run, trained.paths)
    (run.adapter / "adapter_config.json").unlink()
    with pytest.raises(RunError, match="left nothing to evaluate"):
        jobs.evaluate(run, trained.paths)
    assert (run.path / "status.json").read_text() == state, "a run that cannot be examined stays what it was"


def test_the_task_and_the_paraphrases_are_kept_with_the_run(trained: Started, tmp_path: Path) -> None:
    run = a_copy(trained, tmp_path)
    run.write_spec(TaskSpec(target_score=0.9))
    run.write_paraphrases({3: "in other words"})
    subject = examining.subject_of(run)
    assert subject.spec and subject.spec.target_score == 0.9
    assert subject.paraphrases == {3: "in other words"} and subject.metrics


# Quality and verdict, from invented answers


def row(expected: str, base: str, tuned: str, number: int = 1) -> Prediction:
    scores = {"base_score": float(base == expected), "tuned_score": float(tuned == expected)}
    return Prediction(row=number, input="x", expected=expected, base=base, tuned=tuned, **scores)


def test_fields_are_scored_one_by_one() -> None:
    wanted = json.dumps({"name": "Ann", "age": 3})
    found = quality.by_field([row(wanted, "no JSON", '{"name": "Ann"}'), row(wanted, wanted, wanted)])
    assert {one.label: (one.n, one.base, one.tuned) for one in found} == {"name": (2, 0.5, 1.0), "age": (2, 0.5, 0.5)}
    assert quality.by_field([row("billing", "x", "y")]) == ()


def test_calibration_is_the_gap_between_confidence_and_accuracy() -> None:
    sure, even = [0.0, -50.0], [-1.0, -1.0]
    found = quality.calibration("tuned", ("a", "b"), [sure, sure, even, even], ["a", "b", "a", "b"])
    assert found.error == pytest.approx(0.25), "of the two sure ones one is wrong; the others are half sure, half right"
    assert found.brier == pytest.approx((0 + 1 + 0.25 + 0.25) / 4)
    assert [(one.n, one.right) for one in found.bins if one.n] == [(2, 1), (2, 1)]


def test_a_label_that_was_lost_is_named() -> None:
    rows = [row("a", "a", "a") for _ in range(30)] + [row("b", "b", "a") for _ in range(12)]
    rows += [row("c", "x", "c") for _ in range(60)]
    asked = quality.Asked((), [(p.base, "") for p in rows], [(p.tuned, "") for p in rows])
    how = EvaluationPlan()
    asked = replace(asked, test=[examples(p) for p in rows])
    gates = quality.gates(how, quality.arm_scores(how, asked, ("one", "one")), quality.predictions(how, asked))
    lost = next(gate for gate in gates if gate.name == "every label")
    assert lost.level == "warning" and "b (-100 points, n=12)" in lost.told and lost.remedies
    assert next(gate for gate in gates if gate.name == "better than the base").level == "passed"


def examples(prediction: Prediction) -> Any:
    from trainers.data import Example

    return Example(row=prediction.row, input=prediction.input, output=prediction.expected)


def gate(name: str, level: Any) -> Gate:
    return Gate(name=name, level=level, told="Because.")


def part(*gates: Gate) -> Part:
    return Part(probe="general", title="General", group="transfer", asked="", gates=gates)


@pytest.mark.parametrize(
    ("scores", "own", "others", "level", "headline"),
    [
        ((0, 1), (), (), "passed", "Yes, it really got better."),
        ((1, 0), (), (), "failed", "It got worse. Do not use it."),
        ((1, 1), (), (), "warning", "Cannot tell: the difference may be chance."),
        ((0, 1), (), (gate("sums", "failed"),), "failed",
         "It got better at the task, but forgot what the base could do."),
        ((0, 1), (gate("few rows", "warning"),), (), "warning", "It got better, with reservations: few rows."),
        ((0, 1), (gate("better than a prompt alone", "warning"),), (), "warning",
         "It got better than the base, but a prompt alone may do as well."),
        ((0, 1), (), (gate("refusals", "unknown"),), "passed", "Yes, it really got better."),
        ((1, 1), (), (gate("memorised", "failed"),), "failed",
         "It cannot be told from chance that it got better, and it forgot what the base could do."),
    ],
)  # fmt: skip
def test_the_verdict(scores: Any, own: Any, others: Any, level: str, headline: str) -> None:
    from prompts.metrics import compare

    first, second = ([float(value)] * 30 for value in scores)
    found = verdict(compare(first, second), own, [part(*others)])
    assert (found.level, found.headline) == (level, headline)
    told = " ".join(found.reasons)
    assert all(one.name in told.lower() for one in (*own, *others)), "every doubt is among the reasons"


def test_what_an_adapter_forgot_the_base_beside_it_can_still_do() -> None:
    from prompts.metrics import compare

    change = compare([0.0] * 30, [1.0] * 30)
    found = verdict(change, (), [part(gate("sums", "failed"))], beside_base=True)
    assert (found.level, found.headline) == (
        "warning", "It got better at the task, but forgot the rest: ask it nothing else.",
    )  # fmt: skip
    worse = verdict(change, (gate("labels", "failed"),), [part(gate("sums", "failed"))], beside_base=True)
    assert worse.level == "failed", "not where something else is broken too"


# Remedies


def test_a_remedy_is_a_plan(tiny_plan: Plans) -> None:
    plan = tiny_plan()
    rank, dropout = lower_rank(plan), more_dropout(plan)
    assert rank and dropout
    changed = apply(dropout, apply(rank, apply(fewer_epochs(plan), plan)))
    assert changed.training.epochs == 1.5
    assert changed.strategy.model_dump() == {**plan.strategy.model_dump(), "r": 2, "alpha": 4.0, "dropout": 0.1}
    assert changed.data == plan.data and changed.prompt.id == plan.prompt.id
