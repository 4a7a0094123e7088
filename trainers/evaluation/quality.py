"""The task itself, on the sealed test rows: every arm's score, where it comes from, and whether it can be trusted.

Owns scores by label and field, confusion, calibration, and the gates of quality. Refuses to ask models (`arm`).
Never imports torch.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prompts.metrics import COMPANIONS, METRICS, compare, holm
from trainers.data import Example, labels_of
from trainers.evaluation.records import (
    ArmScore,
    Bin,
    Calibration,
    Confusion,
    Gate,
    LabelScore,
    Prediction,
    Remedy,
)
from trainers.plan import EvaluationPlan

OTHER = "(other)"
_BINS = 10
_MOST_LABELS = 40  # of a confusion matrix that can still be read
_FEWEST = 20  # test rows; below these even 20 points more are often chance
_WIDE = 0.3  # of an interval from end to end, in shares
_FEWEST_OF_A_LABEL = 5
_NOTABLE = 0.05  # a loss on one label that is worth a word, in shares
Said = tuple[str, str]  # an answer, and why there is none


@dataclass(frozen=True)
class Asked:
    """What the arms said to the test rows, in their order: base, result, and further arms by name with the id of the
    prompt that they were asked with. `scored` are the labels' log-probabilities by arm, for the first rows of `test`.
    """

    test: Sequence[Example]
    base: Sequence[Said]
    tuned: Sequence[Said]
    others: dict[str, tuple[str, Sequence[Said]]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    scored: dict[str, Sequence[Sequence[float]]] = field(default_factory=dict)


def predictions(how: EvaluationPlan, asked: Asked) -> list[Prediction]:
    """Every test row with what each arm said. A row that failed scores 0 and says why."""
    row_score = METRICS[how.metric].row
    return [
        Prediction(
            row=row.row,
            input=row.input,
            expected=row.output,
            base=base,
            tuned=tuned,
            base_score=0.0 if base_failed else row_score(base, row.output),
            tuned_score=0.0 if tuned_failed else row_score(tuned, row.output),
            base_failed=base_failed,
            tuned_failed=tuned_failed,
            others={name: said[i][0] for name, (_, said) in asked.others.items()},
        )
        for i, (row, (base, base_failed), (tuned, tuned_failed)) in enumerate(
            zip(asked.test, asked.base, asked.tuned, strict=True)
        )
    ]


def arm_scores(how: EvaluationPlan, asked: Asked, prompt_ids: tuple[str, str]) -> tuple[ArmScore, ...]:
    """Each arm on the same rows: the base, the base with other prompts, the result; and the result against each."""
    metric = METRICS[how.metric]
    expected = [row.output for row in asked.test]
    tuned = _texts(asked.tuned)
    arms = {"base": (prompt_ids[0], asked.base), **asked.others}
    found = [
        ArmScore(
            name=name,
            prompt_id=prompt_id,
            score=metric.score(_texts(said), expected),
            failed=sum(bool(failed) for _, failed in said),
            change=metric.compare(_texts(said), tuned, expected),
        )
        for name, (prompt_id, said) in arms.items()
    ]
    failed = sum(bool(failed) for _, failed in asked.tuned)
    return (
        *found,
        ArmScore(name="tuned", prompt_id=prompt_ids[1], score=metric.score(tuned, expected), failed=failed),
    )


def _texts(said: Sequence[Said]) -> list[str]:
    """Answers as a metric reads them: of what failed, nothing."""
    return ["" if failed else text for text, failed in said]


def by_label(predictions: Sequence[Prediction]) -> tuple[LabelScore, ...]:
    """Both arms' mean score for each expected answer, the most frequent first."""
    groups: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        groups[prediction.expected].append(prediction)
    return _label_scores({k: [(p.base_score, p.tuned_score) for p in rows] for k, rows in groups.items()})


def by_field(predictions: Sequence[Prediction]) -> tuple[LabelScore, ...]:
    """Of expected JSON objects each key's share of equal values; empty where the answers are none."""
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for prediction in predictions:
        wanted, base, tuned = (_object(text) for text in (prediction.expected, prediction.base, prediction.tuned))
        for key, value in wanted.items():
            groups[key].append((float(base.get(key) == value), float(tuned.get(key) == value)))
    return _label_scores(groups)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _label_scores(groups: dict[str, list[tuple[float, float]]]) -> tuple[LabelScore, ...]:
    scores = [
        LabelScore(
            label=label,
            n=len(rows),
            base=sum(b for b, _ in rows) / len(rows),
            tuned=sum(t for _, t in rows) / len(rows),
        )
        for label, rows in groups.items()
    ]
    return tuple(sorted(scores, key=lambda score: (-score.n, score.label)))


def confusion(answers: Sequence[str], expected: Sequence[str]) -> Confusion:
    """What was answered for each expected label; rare labels beyond the first 40 are counted as others."""
    labels = tuple(label for label, _ in Counter(text.strip() for text in expected).most_common(_MOST_LABELS))
    columns = (*labels, OTHER)
    counts = Counter((wanted.strip(), said.strip()) for said, wanted in zip(answers, expected, strict=True))
    rows = []
    for label in labels:
        row = [counts[label, column] for column in labels]
        total = sum(count for (wanted, _), count in counts.items() if wanted == label)
        rows.append((*row, total - sum(row)))
    return Confusion(labels=labels, columns=columns, counts=tuple(rows))


def calibration(
    arm: str, labels: Sequence[str], scored: Sequence[Sequence[float]], wanted: Sequence[str]
) -> Calibration:
    """Confidence against accuracy: the labels' log-probabilities, made probabilities among the labels (softmax).

    `scored` has a row of log-probabilities for each row of `wanted`, in the order of `labels`.
    """
    pairs = [_confidence(labels, row, right) for row, right in zip(scored, wanted, strict=True)]
    bins = []
    for index in range(_BINS):
        inside = [(p, hit) for p, hit in pairs if min(_BINS - 1, int(p * _BINS)) == index]
        mean = sum(p for p, _ in inside) / len(inside) if inside else (index + 0.5) / _BINS
        bins.append(Bin(n=len(inside), confidence=mean, right=sum(hit for _, hit in inside)))
    gaps = (abs(one.right - one.confidence * one.n) for one in bins)
    brier = sum((p - hit) ** 2 for p, hit in pairs) / len(pairs)
    return Calibration(arm=arm, n=len(pairs), error=sum(gaps) / len(pairs), brier=brier, bins=tuple(bins))


def _confidence(labels: Sequence[str], row: Sequence[float], wanted: str) -> tuple[float, bool]:
    """The chosen label's probability among all, and whether it is right."""
    top = max(row)
    chosen = labels[row.index(top)]
    return 1 / sum(math.exp(value - top) for value in row), chosen == wanted


def labels_to_score(how: EvaluationPlan, rows: Sequence[Example], allowed: Sequence[str]) -> tuple[str, ...]:
    """The labels whose probabilities can be asked for: what the prompt allows, else what the rows show; or none."""
    if how.metric not in COMPANIONS["label"]:
        return ()
    found = tuple(allowed) or labels_of(rows)
    return found if 2 <= len(found) <= 100 else ()


# Gates


def unsure(why: str) -> Gate:
    """Where the labels' probabilities could not be asked for."""
    return Gate(name="calibration", level="unknown", told=f"How sure it is of a label could not be asked: {why}")


def gates(how: EvaluationPlan, arms: Sequence[ArmScore], found: Sequence[Prediction]) -> tuple[Gate, ...]:
    """Whether it got better, better than a prompt would be, on enough rows, without a label lost, without failures."""
    rows = [_better(how, arms), _beyond_prompts(arms), _enough(arms), _every_label(how, found), _answered(arms)]
    return tuple(gate for gate in rows if gate)


def _better(how: EvaluationPlan, arms: Sequence[ArmScore]) -> Gate:
    change = arms[0].change
    assert change is not None
    told = f"{how.metric}: base {arms[0].score}, tuned {arms[-1].score}. {change.told.capitalize()}."
    levels: dict[str, Any] = {"better": "passed", "worse": "failed", "cannot tell": "warning"}
    remedies: tuple[Remedy, ...] = ()
    if change.verdict != "better":
        why = "More held-out rows tell smaller differences apart." if change.verdict == "cannot tell" else ""
        remedies = (Remedy(title="Add rows, or improve the prompt first", why=why or "What it learned does not help."),)
    return Gate(name="better than the base", level=levels[change.verdict], told=told, remedies=remedies)


def _beyond_prompts(arms: Sequence[ArmScore]) -> Gate | None:
    """Whether the training was worth it beside the best that the base does with another prompt."""
    others = [arm for arm in arms[1:-1] if arm.change]
    if not others:
        return None
    best = max(others, key=lambda arm: arm.score.value)
    assert best.change is not None
    told = f"Against the {best.name} ({best.score}): {best.change.told}."
    if best.change.verdict == "better":
        return Gate(name="better than a prompt alone", level="passed", told=told)
    keep = Remedy(title=f"Use the {best.name}", why="It needs no training, and nothing beside the base to serve.")
    return Gate(name="better than a prompt alone", level="warning", told=told, remedies=(keep,))


def _enough(arms: Sequence[ArmScore]) -> Gate:
    score, change = arms[-1].score, arms[0].change
    assert change is not None
    width = max(score.high - score.low, change.high - change.low)
    told = f"{score.n} test rows; the tuned score may lie anywhere from {score.low:.0%} to {score.high:.0%}."
    if score.n >= _FEWEST and width <= _WIDE:
        return Gate(name="enough test rows", level="passed", told=told)
    needed = max(2 * score.n, _FEWEST, math.ceil(score.n * (width / _WIDE) ** 2))
    more = Remedy(title=f"Have {needed} test rows", why="The interval shrinks with the root of the rows.")
    return Gate(name="enough test rows", level="warning", told=f"{told} That is too wide to rest on.", remedies=(more,))


def _every_label(how: EvaluationPlan, found: Sequence[Prediction]) -> Gate | None:
    """Labels on which the training lost, with Holm's correction for looking at many."""
    if how.metric not in COMPANIONS["label"]:
        return None
    groups: dict[str, list[Prediction]] = defaultdict(list)
    for one in found:
        groups[one.expected].append(one)
    if len(groups) == 1:
        told = f"All {len(found)} test rows have the answer {found[0].expected!r}: saying that always scores 100%."
        more = Remedy(title="Add test rows with other answers", why="One answer alone cannot show what was learned.")
        return Gate(name="every label", level="warning", told=told, remedies=(more,))
    looked = {label: rows for label, rows in groups.items() if len(rows) >= _FEWEST_OF_A_LABEL}
    changes = {k: compare([p.base_score for p in v], [p.tuned_score for p in v]) for k, v in looked.items()}
    lost = [
        f"{label} ({change.difference * 100:+.0f} points, n={change.n})"
        for (label, change), p in zip(changes.items(), holm([c.p_value for c in changes.values()]), strict=True)
        if p < 0.05 and change.difference <= -_NOTABLE
    ]
    rest = len(groups) - len(looked)
    few = f" {rest} labels have fewer than {_FEWEST_OF_A_LABEL} rows and say nothing." if rest else ""
    if not looked:
        return Gate(name="every label", level="unknown", told=f"No label has {_FEWEST_OF_A_LABEL} test rows or more.")
    if not lost:
        told = f"None of {len(looked)} labels is answered worse than by the base.{few}"
        return Gate(name="every label", level="passed", told=told)
    more = Remedy(title="Add training rows for these labels", why="They are outweighed by the others.")
    told = f"Answered worse than by the base: {', '.join(lost)}.{few}"
    return Gate(name="every label", level="warning", told=told, remedies=(more,))


def _answered(arms: Sequence[ArmScore]) -> Gate:
    failed = arms[-1].failed
    n = arms[-1].score.n
    if not failed:
        return Gate(name="every row answered", level="passed", told=f"All {n} rows got an answer.")
    told = f"{failed} of {n} rows got no answer from the tuned model; they count as wrong."
    shorter = Remedy(title="Shorten these rows or the prompt", why="What does not fit the model cannot be answered.")
    return Gate(name="every row answered", level="warning", told=told, remedies=(shorter,))
