"""Does it still know the answer when the question is put differently?

Owns asking test rows in other words, or with slips and other capitals, and the judgement. Refuses to write other words
(`assistant.paraphrasing`) and slips (`perturbing`). Never imports torch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from prompts.metrics import METRICS, Comparison, compare, summarize
from trainers.data import Example, labels_of
from trainers.evaluation.curves import against_overfitting
from trainers.evaluation.gap import FEWEST
from trainers.evaluation.perturbing import with_other_capitals, with_typos, words_of
from trainers.evaluation.probe import OnProgress, Probe, Subject
from trainers.evaluation.records import Case, Figure, Gate, Group, Level, Part, Prediction, Remedy

if TYPE_CHECKING:
    from trainers.evaluation.arm import Arm

# Twice what a gap has to have: a slip can make a row unreadable for anybody, and a base that answers nothing as it
# should has nothing to lose by it.
_NOTABLE, _SERIOUS = 0.10, 0.25
_CASES = 8
GATE = "other wordings"
_OTHER_EXAMPLES = Remedy(
    title="Show other examples", why="Examples that differ more in their wording hold it less to one of them."
)


@dataclass(frozen=True)
class _Changed:
    """A test row and its input as it is asked here."""

    row: Example
    text: str


class RobustnessProbe(Probe):
    """Asks test rows in other words where somebody wrote them, else with slips or other capitals in turn."""

    name: ClassVar[str] = "robustness"
    title: ClassVar[str] = "Other wordings"
    group: ClassVar[Group] = "overfitting"
    about_weights: ClassVar[bool] = False

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        written = subject.paraphrases or {}
        rewritten = [_Changed(row, written[row.row]) for row in subject.test if written.get(row.row, "").strip()]
        self.in_other_words = len(rewritten) >= FEWEST
        self.rows = subject.sample(rewritten) if self.in_other_words else self._with_slips()

    def _with_slips(self) -> list[_Changed]:
        subject = self.subject
        labels = {*labels_of((*subject.train, *subject.test)), *(subject.spec.labels if subject.spec else ())}
        found = []
        for number, row in enumerate(subject.sample(subject.test)):
            keep = words_of(row.output, *labels)  # what is to be found in the text must still stand there
            rng = random.Random(f"{subject.plan.data.seed} {row.row}")
            slips, capitals = with_typos(row.input, rng, keep), with_other_capitals(row.input, keep)
            first, second = (slips, capitals) if number % 2 else (capitals, slips)
            text = first if first != row.input else second
            if text != row.input:
                found.append(_Changed(row, text))
        return found

    def ask(self, arm: Arm, on_progress: OnProgress) -> list[Any]:
        said = arm.answer([changed.text for changed in self.rows], on_progress=on_progress)
        return [answer.text for answer in said]

    def judge(self, base: list[Any], tuned: list[Any], predictions: Sequence[Prediction]) -> Part:
        if len(self.rows) < FEWEST:
            told = f"{len(self.rows)} test rows could be put differently; {FEWEST} are needed to tell anything."
            return self._part("Nothing.", Gate(name=GATE, level="unknown", told=told))
        metric = METRICS[self.subject.how.metric]
        expected = [changed.row.output for changed in self.rows]
        after = {"base": metric.rows(base, expected), "tuned": metric.rows(tuned, expected)}
        asked = {one.row: one for one in predictions}
        rows = [asked[changed.row.row] for changed in self.rows]
        before = {"base": [one.base_score for one in rows], "tuned": [one.tuned_score for one in rows]}
        changes = {arm: [b - a for a, b in zip(before[arm], after[arm], strict=True)] for arm in before}
        own, beyond = compare(before["tuned"], after["tuned"]), compare(changes["base"], changes["tuned"])
        figures = (
            self._figure("as they are", before),
            self._figure("put differently", after),
            Figure(name="Change by that", change=beyond, note="beyond the base's own change, on the same rows"),
        )
        gate = self._gate(before, after, own, beyond)
        how = "in other words" if self.in_other_words else "with slips of the keyboard or other capitals"
        told = f"Both models were asked {len(self.rows)} test rows again {how}."
        return self._part(told, gate, figures, tuple(self._cases(rows, base, tuned, before["tuned"], after["tuned"])))

    def _gate(
        self, before: dict[str, list[float]], after: dict[str, list[float]], own: Comparison, beyond: Comparison
    ) -> Gate:
        told = f"Put differently, it scores {summarize(after['tuned'])} where it scored {_percent(before['tuned'])}, "
        told += f"a change of {_points(own)}; the base went from {_percent(before['base'])} to "
        told += f"{_percent(after['base'])}."
        level = _level(own, beyond)
        if level == "passed":
            return Gate(name=GATE, level=level, told=told)
        told += " It holds on to the wording of its rows more than to what they mean."
        plan = self.subject.plan
        remedies = against_overfitting(plan, len(self.subject.train)) if plan.strategy.trains else (_OTHER_EXAMPLES,)
        return Gate(name=GATE, level=level, told=told, remedies=remedies)

    def _figure(self, what: str, scores: dict[str, list[float]]) -> Figure:
        base, tuned = summarize(scores["base"]), summarize(scores["tuned"])
        return Figure(name=f"Score on rows {what}", base=base, tuned=tuned, change=compare(*scores.values()))

    def _cases(
        self,
        rows: Sequence[Prediction],
        base: Sequence[str],
        tuned: Sequence[str],
        before: Sequence[float],
        after: Sequence[float],
    ) -> list[Case]:
        """The rows that lost most by it."""
        lost = sorted((i for i in range(len(rows)) if after[i] < before[i]), key=lambda i: after[i] - before[i])
        return [
            Case(
                title=f"Row {rows[i].row}",
                input=self.rows[i].text,
                expected=rows[i].expected,
                base=base[i],
                tuned=tuned[i],
                note=f"The row itself reads: {rows[i].input}. There it said: {rows[i].tuned}",
            )
            for i in lost[:_CASES]
        ]

    def _part(self, asked: str, gate: Gate, figures: tuple[Figure, ...] = (), cases: tuple[Case, ...] = ()) -> Part:
        limits = "A language model wrote the other words. That they mean the same was checked by name and number alone."
        if not self.in_other_words:
            limits = "Slips and capitals are small changes: whether it understands other words, they do not show."
        base = figures[0].base if figures else None
        if base is not None and base.value < _NOTABLE:
            limits += " The base has hardly a right answer to lose, so that there is little to hold the change against."
        return self.part(
            asked=asked,
            gates=(gate,),
            figures=figures,
            cases=cases,
            limits=limits,
        )


def _level(own: Comparison, beyond: Comparison) -> Level:
    if not own.verdict == beyond.verdict == "worse":
        return "passed"
    lost = -max(own.difference, beyond.difference)
    if lost < _NOTABLE:
        return "passed"
    return "failed" if lost >= _SERIOUS else "warning"


def _percent(scores: Sequence[float]) -> str:
    return f"{_mean(scores):.0%}"


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def _points(change: Comparison) -> str:
    return f"{change.difference * 100:+.0f} points ({change.low * 100:+.0f} to {change.high * 100:+.0f})"
