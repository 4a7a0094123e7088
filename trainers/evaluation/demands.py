"""What the person asked of the model, one by one: met, not met, or unknown. Never imports torch.

Owns holding the tuned model's answers on the test rows against the spec: the score that is enough, the shape of an
answer, its language, what it must never do, the other rules. Refuses to guess: what no rule can check is left to a
person. How a demand is read is `wording`.

That something never happened in n answers does not mean that it never happens: with 95 % confidence it happens in at
most 1 - 0.05^(1/n) of all answers, about 3/n (the rule of three, Hanley and Lippman-Hand 1983).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from prompts.allowed import allowed_for
from prompts.metrics import METRICS, Score, metric_for
from prompts.metrics.answers import json_value
from prompts.spec import TaskSpec
from trainers.evaluation.probe import Probe
from trainers.evaluation.records import Case, Figure, Gate, Group, Level, Part, Prediction, Remedy
from trainers.evaluation.wording import Check, Known, in_language, read_demand
from trainers.plan import EvaluationPlan

_SURE_ENOUGH = 0.15  # a bound above this is no answer: fewer than 19 answers, none of them wrong
_SLIP = 0.05  # a rule that is broken no more often than this is a warning
_MOST_CASES = 5  # of one demand
_TELLABLE = 0.5  # share of the answers whose language can be told


class DemandsProbe(Probe):
    """The spec's demands against the answers that were given anyway; nothing further is asked."""

    name: ClassVar[str] = "demands"
    title: ClassVar[str] = "What you asked for"
    group: ClassVar[Group] = "demands"
    about_weights: ClassVar[bool] = False

    @classmethod
    def replies(cls, how: EvaluationPlan) -> int:
        return 0

    def judge(self, base: list[object], tuned: list[object], predictions: Sequence[Prediction]) -> Part:
        spec = self.subject.spec
        found = list(self._answers(spec, predictions)) if spec and predictions else []
        if not found:
            missing = "there are no test rows" if spec and not predictions else "the task names no demand"
            told = f"Unknown: {missing if spec else 'the run knows no task'}, so that there is nothing to answer."
            found = [(Gate(name="your demands", level="unknown", told=told), [])]
        return self.part(
            asked=f"Your demands, one by one, held against what the tuned model said to {len(predictions)} test rows.",
            gates=tuple(gate for gate, _ in found),
            figures=tuple(self._figures(spec, predictions)) if spec else (),
            cases=tuple(case for _, cases in found for case in cases),
            limits="Checked is only what the wording of a demand lets a program check, and by its form: an amount of "
            "money in words of its own is not seen. Everything else has to be read by a person.",
        )

    def _answers(self, spec: TaskSpec, predictions: Sequence[Prediction]) -> Iterator[tuple[Gate, list[Case]]]:
        known = self._known(spec)
        if spec.target_score is not None:
            yield self._target(spec, predictions), []
        for name, check in self._shape(spec, known):
            yield self._checked(name, check, predictions, never=False)
        for demands, never in ((spec.must_never, True), (spec.rules, False)):
            for demand in demands:
                check_or_none = read_demand(demand, forbidden=never, known=known)
                name = f"must never: {demand}" if never else f"rule: {demand}"
                yield self._checked(name, check_or_none, predictions, never=never)
        if spec.tone:
            yield self._checked(f"tone: {spec.tone}", None, predictions, never=False)

    def _known(self, spec: TaskSpec) -> Known:
        allowed = self.subject.plan.prompt.allowed
        labels = spec.labels or (allowed.choices if allowed else ())
        return Known(labels=labels, language=spec.language or spec.input_language)

    def _shape(self, spec: TaskSpec, known: Known) -> Iterator[tuple[str, Check]]:
        """What the spec says of an answer's form and language."""
        labelled = spec.output_format == "label" and known.labels
        if labelled:
            labels = frozenset(label.strip() for label in known.labels)
            one_of = Check("every answer is one of the labels", lambda text: text.strip() not in labels)
            yield "answers are labels", one_of
        if spec.output_format == "json":
            yield "answers are JSON", Check("every answer is valid JSON", lambda text: json_value(text) is None)
            if spec.fields:
                named = ", ".join(spec.fields)
                yield "answers have the fields", Check(f"every answer has the fields {named}", self._lacks(spec.fields))
        if spec.language and not labelled and spec.output_format != "json":
            check = in_language(spec.language)
            yield f"language: {check.told.removeprefix('every answer is in ')}", check

    @staticmethod
    def _lacks(fields: Sequence[str]) -> Callable[[str], bool]:
        def lacks(text: str) -> bool:
            value = json_value(text)
            return not (value and isinstance(value[0], dict) and set(fields) <= value[0].keys())

        return lacks

    # The score

    def _metric_name(self, spec: TaskSpec) -> str:
        return metric_for(spec.output_format, spec.metric) if spec.metric else self.subject.how.metric

    def _scored(self, spec: TaskSpec, predictions: Sequence[Prediction], arm: str) -> Score:
        answers = [getattr(p, arm) for p in predictions]
        return METRICS[self._metric_name(spec)].score(answers, [p.expected for p in predictions])

    def _figures(self, spec: TaskSpec, predictions: Sequence[Prediction]) -> Iterator[Figure]:
        if spec.target_score is None or not predictions:
            return
        base, tuned = (self._scored(spec, predictions, arm) for arm in ("base", "tuned"))
        note = f"You asked for {spec.target_score:.0%}."
        yield Figure(name=f"the score you set: {self._metric_name(spec)}", base=base, tuned=tuned, note=note)

    def _target(self, spec: TaskSpec, predictions: Sequence[Prediction]) -> Gate:
        target = spec.target_score or 0.0
        score = self._scored(spec, predictions, "tuned")
        name = f"score of at least {target:.0%}"
        told = f"{self._metric_name(spec)} is {score}"
        if score.low >= target:
            return Gate(name=name, level="passed", told=f"Met: {told}, and its low end reaches {target:.0%}.")
        if score.high < target:
            told = f"Not met: {told}, and even its high end stays below {target:.0%}."
            return Gate(name=name, level="failed", told=told, remedies=self._of_target(spec))
        told = f"Unknown: {told}, and {target:.0%} lies within. {_more_rows(score, target)}"
        return Gate(name=name, level="unknown", told=told)

    def _of_target(self, spec: TaskSpec) -> tuple[Remedy, ...]:
        rows = len(self.subject.train)
        more = Remedy(
            title="Add rows of the kind that goes wrong",
            why=f"It trained on {rows} rows. The lost rows of the report show which kind is missing.",
        )
        return (*self._holding(spec), more)

    # The rest

    def _checked(
        self, name: str, check: Check | None, predictions: Sequence[Prediction], *, never: bool
    ) -> tuple[Gate, list[Case]]:
        """The gate, and the answers that break the demand."""
        if check is None:
            told = "Unknown: a person, or a judge model, has to read the answers. Its wording lets no rule check it."
            return Gate(name=name, level="unknown", told=told), []
        given = [p for p in predictions if not p.tuned_failed]
        seen = [p for p in given if check.looked_at(p.tuned)]
        wrong = [p for p in seen if check.breaks(p.tuned)]
        if not never:  # an answer that never came keeps no rule, but breaks no ban
            missing = [p for p in predictions if p.tuned_failed]
            seen, wrong = [*seen, *missing], [*wrong, *missing]
        level, told = _judged(check, len(wrong), len(seen), len(predictions), never=never)
        remedies = self._remedies(check) if level in ("failed", "warning") else ()
        return Gate(name=name, level=level, told=told, remedies=remedies), _cases(name, check, wrong)

    def _remedies(self, check: Check) -> tuple[Remedy, ...]:
        spec = self.subject.spec
        shown = [row for row in self.subject.train if check.looked_at(row.output) and check.breaks(row.output)]
        found = list(self._holding(spec)) if spec else []
        if shown:
            rows = ", ".join(str(row.row) for row in shown[:5])
            found.append(
                Remedy(
                    title="Change the rows that show it",
                    why=f"{len(shown)} of {len(self.subject.train)} training answers do it themselves: row {rows}"
                    f"{' and more' if len(shown) > 5 else ''}. What is shown is learned.",
                )
            )
        else:
            found.append(
                Remedy(
                    title="Say it in the prompt, and train again with that prompt",
                    why="None of the training answers does it, so that the rows alone do not teach to leave it.",
                )
            )
        return tuple(found)

    def _holding(self, spec: TaskSpec) -> tuple[Remedy, ...]:
        """Answers held to the labels or to the JSON of the training rows, where they are not yet."""
        if self.subject.plan.prompt.allowed or spec.output_format not in ("label", "json"):
            return ()
        labels = spec.labels if spec.output_format == "label" else ()
        outputs = [row.output for row in self.subject.train]
        allowed = allowed_for(labels, outputs, spec.fields) if labels or spec.output_format == "json" else None
        if allowed is None:
            return ()
        return (
            Remedy(
                title="Hold the answers to what is allowed",
                why=f"The engine then gives nothing but {allowed.told}, whatever the model would rather say.",
                changes={"prompt.allowed": allowed.model_dump(mode="json")},
            ),
        )


def _judged(check: Check, wrong: int, seen: int, given: int, *, never: bool) -> tuple[Level, str]:
    read = f"Read as: {check.told}."
    if wrong:
        level: Level = "warning" if not never and wrong <= _SLIP * seen else "failed"
        return level, f"Not met in {wrong} of {seen} answers. {read}"
    if seen < _TELLABLE * given or not seen:
        return "unknown", f"Unknown: of {given} answers only {seen} can be looked at for this. {read}"
    bound = 1 - 0.05 ** (1 / seen)
    sure = f"in all {seen} answers; it may still be broken in up to {bound:.1%} of others (95 % confidence)"
    if not check.proves:
        told = f"Unknown: by its form none was found, {sure}. But not all of it has a form"
        return "unknown", f"{told}: names and addresses are not looked for. {read}"
    if bound > _SURE_ENOUGH:
        more = math.ceil(math.log(0.05) / math.log(1 - _SURE_ENOUGH)) - seen
        return "unknown", f"Unknown: kept {sure}, which is too many. {more} more test rows would tell. {read}"
    return "passed", f"Met {sure}. {read}"


def _more_rows(score: Score, target: float) -> str:
    """About how many rows would put the target outside the interval, were the score as it looks now."""
    gap = abs(score.value - target)
    side = score.value - score.low if score.value >= target else score.high - score.value
    if gap < 0.005:
        return "The score stands at the target itself: more rows would hardly tell."
    more = max(1, math.ceil(score.n * (side / gap) ** 2) - score.n)
    return f"About {more:,} more test rows would tell."


def _cases(name: str, check: Check, wrong: Sequence[Prediction]) -> list[Case]:
    return [
        Case(
            title=f"{name} (row {p.row})",
            input=p.input,
            expected=p.expected,
            base=p.base,
            tuned=p.tuned,
            note=p.tuned_failed or f"It breaks: {check.told}.",
        )
        for p in wrong[:_MOST_CASES]
    ]
