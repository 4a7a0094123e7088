"""Carrying out an evaluation: base first, then the result, then what both said. Imports torch.

Owns the order, what is kept of an examination that is cut off, and its progress. Refuses to know what a probe asks.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompts.errors import TunewrightError
from prompts.metrics import COMPANIONS, METRICS
from prompts.versions import PromptVersion
from trainers.evaluation import quality
from trainers.evaluation.arm import Arm, base_arm, tuned_arm
from trainers.evaluation.probe import OnProgress, Probe, Subject
from trainers.evaluation.probes import PROBES
from trainers.evaluation.records import EvaluationReport, Gate, Part, Prediction
from trainers.evaluation.subject import subject_of
from trainers.evaluation.verdict import verdict
from trainers.hardware import Compute
from trainers.memory import peak_memory_gb
from trainers.models import LocalModel
from trainers.paths import write_atomically
from trainers.plan import PROBES as PROBE_NAMES
from trainers.status import RunFolder
from trainers.strategies import FewShotStrategy

Say = Callable[[float, str], None]
_SCORED = 2000  # labels times rows whose probabilities are asked for: two minutes of the embedded model on two cores
TEST, LABELS = "test", "labels"


@dataclass(frozen=True)
class _Question:
    """Something that one arm is asked. `weight` is about how many replies it takes, for the time that is left."""

    name: str
    told: str
    weight: int
    put: Callable[[Arm, OnProgress], list[Any]]


def examine(run: RunFolder, base: LocalModel, compute: Compute, say: Say = lambda fraction, told: None) -> None:
    """Ask both arms, judge, and write report and predictions into the run. Raises a `TunewrightError`.

    What was said so far is kept in `run.asked`, so that an examination that was cut off goes on.
    """
    begun = time.monotonic()
    subject = subject_of(run)
    probes = [PROBES[name](subject) for name in PROBE_NAMES if name in subject.how.probes]
    kept = _Kept(run.asked, subject)
    others, labels = _further_prompts(run, subject), _labels(subject)
    lists = _of_base(subject, probes, others, labels), _of_tuned(subject, probes, labels)
    progress = _Progress(say, sum(question.weight for questions in lists for question in questions))
    prompts = subject.plan.prompt, run.result_prompt()
    remote = {"trust_remote_code": subject.plan.trust_remote_code}
    first = base_arm(base.folder, prompts[0], subject.how, compute, **remote)
    said = {"base": kept.all(first, lists[0], progress)}
    said["tuned"] = kept.all(tuned_arm(first, run.artefact, prompts[1], compute), lists[1], progress)
    asked = _asked(subject, said, others, labels)
    found = quality.predictions(subject.how, asked)
    parts = tuple(_judged(probe, subject, said, found) for probe in probes)
    unscored = next((why for answers in said.values() if isinstance(why := answers.get(LABELS), str)), "")
    report = _report(run, subject, base, asked, found, parts, unscored)
    run.write_report(report.model_copy(update={"evaluation_seconds": time.monotonic() - begun}), found)
    shutil.rmtree(run.asked, ignore_errors=True)


# What is asked


def _of_base(
    subject: Subject, probes: Sequence[Probe], others: dict[str, PromptVersion], labels: tuple[str, ...]
) -> list[_Question]:
    asked = [_test(TEST, "The base model", subject)]
    asked += [_test(f"{TEST}: {name}", f"The {name}", subject, prompt) for name, prompt in others.items()]
    return [*asked, *_scoring(subject, labels), *_probing(probes, subject, "base")]


def _of_tuned(subject: Subject, probes: Sequence[Probe], labels: tuple[str, ...]) -> list[_Question]:
    asked = [_test(TEST, "The tuned model", subject)]
    return [*asked, *_scoring(subject, labels), *_probing(probes, subject, "tuned model")]


def _test(name: str, who: str, subject: Subject, prompt: PromptVersion | None = None) -> _Question:
    rows = subject.test

    def put(arm: Arm, on_progress: OnProgress) -> list[Any]:
        said = arm.answer([row.input for row in rows], prompt=prompt, on_progress=on_progress)
        return [[answer.text, answer.failed] for answer in said]

    return _Question(name, f"{who} answers {len(rows)} held-out rows.", len(rows), put)


def _scoring(subject: Subject, labels: tuple[str, ...]) -> list[_Question]:
    if not labels:
        return []
    rows = subject.test[: max(1, _SCORED // len(labels))]

    def put(arm: Arm, on_progress: OnProgress) -> list[Any]:
        chats = [arm.prompt.messages(row.input) for row in rows]
        return [[one.sum for one in found] for found in arm.choose(chats, [labels] * len(chats))]

    return [_Question(LABELS, f"How sure is it of each label, in {len(rows)} rows?", len(rows), put)]


def _labels(subject: Subject) -> tuple[str, ...]:
    allowed = subject.plan.prompt.allowed
    return quality.labels_to_score(subject.how, (*subject.train, *subject.test), allowed.choices if allowed else ())


def _probing(probes: Iterable[Probe], subject: Subject, who: str) -> list[_Question]:
    """What the probes ask; where no weight was trained, only of those that are not about the weights."""
    asks = [probe for probe in probes if subject.artefact is not None or not probe.about_weights]
    return [_Question(p.name, f"{p.title}: the {who} is asked.", p.replies(subject.how), p.ask) for p in asks]


def _further_prompts(run: RunFolder, subject: Subject) -> dict[str, PromptVersion]:
    """Other ways to ask the base: with solved examples, and with the prompts that the plan names."""
    how, prompt = subject.how, subject.plan.prompt
    found = {f"base, {name}": version for name, version in how.prompts.items() if version.id != prompt.id}
    shows = prompt.demonstrations or subject.plan.strategy.type == "few_shot"
    rows = tuple(row for row in run.split("train") if row.output)
    if how.few_shot and rows and not shows:
        found["base, few-shot"] = FewShotStrategy(examples=how.few_shot).version(prompt, rows)
    return found


# What is kept


class _Progress:
    """The finished share over all questions, by their weights."""

    def __init__(self, say: Say, total: int) -> None:
        self._say, self._total, self._done = say, max(1, total), 0.0

    def of(self, question: _Question) -> OnProgress:
        self._say(self._done / self._total, question.told)
        return lambda fraction: self._say((self._done + fraction * question.weight) / self._total, question.told)

    def finish(self, question: _Question) -> None:
        self._done += question.weight


class _Kept:
    """The answers so far, one file for each arm and question. Those to a differently put examination do not count."""

    def __init__(self, folder: Path, subject: Subject) -> None:
        content = [subject.how.model_dump_json(exclude={"probes"}), subject.plan.prompt.id, str(subject.paraphrases)]
        self._folder = folder / hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

    def all(self, arm: Arm, questions: Sequence[_Question], progress: _Progress) -> dict[str, list[Any] | str]:
        """What the arm says to each question, by name; a text, where that could not be asked, says why."""
        said: dict[str, list[Any] | str] = {}
        for question in questions:
            said[question.name] = self._one(arm, question, progress.of(question))
            progress.finish(question)
        return said

    def _one(self, arm: Arm, question: _Question, on_progress: OnProgress) -> list[Any] | str:
        path = self._folder / f"{arm.name} {question.name.replace('/', ' ')}.json"
        if path.is_file():
            return list(json.loads(path.read_text("utf-8")))
        try:
            said = question.put(arm, on_progress)
        except Exception as error:  # a probe that fails is a gate without an answer, and costs no other its own
            if question.name.startswith(TEST):
                raise
            return _why(error)
        write_atomically(path, json.dumps(said, ensure_ascii=False))
        return said


def _why(error: Exception) -> str:
    if isinstance(error, TunewrightError):
        return str(error)
    traceback.print_exc()
    return f"{type(error).__name__}: {error}"


# What it says


def _asked(
    subject: Subject, said: dict[str, dict[str, Any]], others: dict[str, PromptVersion], labels: tuple[str, ...]
) -> quality.Asked:
    base, tuned = said["base"], said["tuned"]
    heard = {name: (version.id, base[f"{TEST}: {name}"]) for name, version in others.items()}
    scored = {name: answers[LABELS] for name, answers in said.items() if isinstance(answers.get(LABELS), list)}
    return quality.Asked(subject.test, base[TEST], tuned[TEST], heard, labels, scored)


def _judged(probe: Probe, subject: Subject, said: dict[str, dict[str, Any]], found: list[Prediction]) -> Part:
    """What a probe finds; where it could not ask, or fails to judge, a gate that says why it is not known."""
    if subject.artefact is None and probe.about_weights:
        gate = Gate(
            name=probe.title.lower(), level="passed", told="Nothing was trained: the base's own weights answer."
        )
        return probe.part("Nothing.", (gate,))
    base, tuned = said["base"][probe.name], said["tuned"][probe.name]
    trouble = next((answers for answers in (base, tuned) if isinstance(answers, str)), "")
    if not trouble:
        try:
            return probe.judge(base, tuned, found)
        except Exception as error:
            trouble = _why(error)
    gate = Gate(name=probe.title.lower(), level="unknown", told=f"This could not be looked at: {trouble}")
    return probe.part("It failed.", (gate,))


def _report(
    run: RunFolder,
    subject: Subject,
    base: LocalModel,
    asked: quality.Asked,
    found: list[Prediction],
    parts: tuple[Part, ...],
    unscored: str,
) -> EvaluationReport:
    plan, how = subject.plan, subject.how
    metric, status = METRICS[how.metric], run.written_status()
    arms = quality.arm_scores(how, asked, (plan.prompt.id, run.result_prompt().id))
    change = arms[0].change
    assert change is not None
    gates = (*quality.gates(how, arms, found), *([quality.unsure(unscored)] if unscored else []))
    expected = [one.expected for one in found]
    of_labels = metric.name in COMPANIONS["label"]
    return EvaluationReport(
        metric=metric.name,
        base=arms[0].score,
        tuned=arms[-1].score,
        comparison=change,
        prompt_id=run.result_prompt().id,
        base_model=base.name,
        seed=plan.data.seed,
        labels=quality.by_label(found) if of_labels else (),
        train_rows=len(subject.train) if plan.strategy.trains else 0,
        train_tokens=status.tokens,
        train_seconds=status.train_seconds,
        peak_memory_gb=peak_memory_gb(),
        arms=arms,
        fields=quality.by_field(found),
        confusion=tuple(quality.confusion([getattr(p, a) for p in found], expected) for a in ("base", "tuned"))
        if of_labels
        else (),
        calibration=tuple(
            quality.calibration(arm, asked.labels, scored, expected[: len(scored)])
            for arm, scored in asked.scored.items()
        ),
        gates=gates,
        parts=parts,
        verdict=verdict(change, gates, parts, beside_base=run.artefact == run.adapter),
    )
