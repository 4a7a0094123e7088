"""Invented reports for the tests of what shows them: a full one with every part, and the rows it would rest on."""

from __future__ import annotations

import random

from prompts.metrics import compare, summarize
from trainers.evaluation.records import (
    ArmScore,
    Bin,
    Calibration,
    Case,
    Confusion,
    EvaluationReport,
    Figure,
    Gate,
    LabelScore,
    Part,
    Prediction,
    Remedy,
    Verdict,
)
from trainers.status import RunFolder

LABELS = ("account", "billing", "delivery", "feedback", "returns", "technical")
EVIL = '<script>alert("x")</script> | `` ``` ${1+1} {{ 2*2 }}'
REMEDY = Remedy(
    title="Train for 2 epochs instead of 4",
    why="Each pass over the same rows fits their wording more closely.",
    changes={"training.epochs": 2.0},
)
ADVICE = Remedy(title="Add rows", why="It trained on 180 rows; with twice as many, each is seen half as often.")


def predictions(n: int = 90) -> list[Prediction]:
    """Rows that were won, lost, the same, and two without an answer; the first one is hostile to HTML and Markdown."""
    rng = random.Random(1)
    rows = []
    for number in range(n):
        expected = LABELS[number % len(LABELS)]
        base = expected if rng.random() < 0.38 else rng.choice(LABELS)
        tuned = expected if rng.random() < 0.82 else rng.choice(LABELS)
        failed = "no answer within 120 s" if number in (11, 40) else ""
        text = f"Ticket {number}: my {expected} question has been open since Tuesday and nobody answers."
        rows.append(
            Prediction(
                row=number,
                input=EVIL if number == 0 else text,
                expected=expected,
                base=base,
                tuned="" if failed else tuned,
                base_score=float(base == expected),
                tuned_score=0.0 if failed else float(tuned == expected),
                tuned_failed=failed,
                others={"few-shot": rng.choice(LABELS)},
            )
        )
    return rows


def full_report(rows: list[Prediction]) -> EvaluationReport:
    """Every field filled; figures are of `rows` where they can be, else invented."""
    base, tuned = [one.base_score for one in rows], [one.tuned_score for one in rows]
    few = [float(one.others["few-shot"] == one.expected or one.row % 3 == 0) for one in rows]
    return EvaluationReport(
        metric="exact match",
        base=summarize(base),
        tuned=summarize(tuned),
        comparison=compare(base, tuned),
        prompt_id="0b7540e90120",
        base_model="SmolLM2-135M-Instruct",
        seed=3,
        labels=_labels(rows),
        train_rows=180,
        train_tokens=34_413,
        train_seconds=560.0,
        peak_memory_gb=2.7,
        arms=(
            ArmScore(name="Base", prompt_id="0b7540e90120", score=summarize(base), change=compare(base, tuned)),
            ArmScore(
                name="Base, best prompt", prompt_id="77aa10cc9d2e", score=summarize(few), change=compare(few, tuned)
            ),
            ArmScore(name="Tuned", prompt_id="0b7540e90120", score=summarize(tuned), failed=2),
        ),
        confusion=(_confusion(rows, "base"), _confusion(rows, "tuned")),
        calibration=(_calibration("base", 0.3), _calibration("tuned", 0.08)),
        gates=(
            Gate(name="Better than the base", level="passed", told=f"Exact match: {compare(base, tuned).told}."),
            Gate(
                name="Rows that failed", level="warning", told="2 of 90 rows got no answer in time.", remedies=(ADVICE,)
            ),
        ),
        parts=_parts(tuned, base),
        verdict=Verdict(
            level="failed",
            headline="It got better at the task, but it finds general text more surprising.",
            reasons=(
                f"Exact match: {compare(base, tuned).told}.",
                "It completes 6 of 48 training rows word for word, where the base completes none.",
                "It finds general text 1.8 times as surprising as the base does.",
            ),
        ),
        evaluation_seconds=210.0,
    )


def _labels(rows: list[Prediction]) -> tuple[LabelScore, ...]:
    found = []
    for label in LABELS:
        ours = [one for one in rows if one.expected == label]
        base, tuned = (sum(getattr(one, f"{arm}_score") for one in ours) / len(ours) for arm in ("base", "tuned"))
        found.append(LabelScore(label=label, n=len(ours), base=base, tuned=tuned))
    return tuple(found)


def _confusion(rows: list[Prediction], arm: str) -> Confusion:
    columns = (*LABELS, "(other)")
    counts = [[0] * len(columns) for _ in LABELS]
    for one in rows:
        said = getattr(one, arm)
        counts[LABELS.index(one.expected)][columns.index(said) if said in LABELS else len(LABELS)] += 1
    return Confusion(labels=LABELS, columns=columns, counts=tuple(map(tuple, counts)))


def _calibration(arm: str, off: float) -> Calibration:
    bins = []
    for n, confidence in ((4, 0.35), (9, 0.45), (14, 0.55), (17, 0.65), (20, 0.75), (15, 0.85), (11, 0.95)):
        bins.append(Bin(n=n, confidence=confidence, right=max(0, min(n, round(n * (confidence - off))))))
    return Calibration(arm=arm, n=90, error=off, brier=0.1 + off / 2, bins=tuple(bins))


def _parts(tuned: list[float], base: list[float]) -> tuple[Part, ...]:
    few, many = [0.0] * 42 + [1.0] * 6, [0.0] * 48
    return (
        Part(
            probe="memorisation",
            title="Learned by heart",
            group="overfitting",
            asked="48 training rows were begun, and both models were asked to go on.",
            gates=(
                Gate(
                    name="Learned by heart",
                    level="warning",
                    told="It completes 12 % of training rows word for word (5 % to 24 %, n=48), the base none.",
                    remedies=(REMEDY, ADVICE),
                ),
            ),
            figures=(
                Figure(
                    name="Training rows completed word for word",
                    base=summarize(many),
                    tuned=summarize(few),
                    change=compare(many, few),
                    less_is_better=True,
                ),
            ),
            cases=(
                Case(title="Row 17", input=f"Where is my {EVIL}", expected="parcel?", base="dog", tuned="parcel?"),
                Case(title="Row 31", input="The invoice of May", expected="is wrong.", base="was", tuned="is wrong."),
            ),
            limits="Rows that it would give away when asked in another way are not found.",
        ),
        Part(
            probe="general",
            title="General tasks",
            group="transfer",
            asked="90 short tasks without the prompt of the task: following instructions, arithmetic, facts.",
            gates=(Gate(name="General tasks", level="passed", told="It solves 61 % as before (n=90)."),),
            figures=(
                Figure(name="All tasks", base=summarize(base), tuned=summarize(base), change=compare(base, base)),
                Figure(name="Only the tuned one", tuned=summarize(tuned), note="The base has none."),
            ),
            limits="90 short tasks are a sample; what it forgot elsewhere is not seen.",
        ),
        Part(
            probe="perplexity",
            title="General text",
            group="transfer",
            asked="How probable both models find 16 short texts.",
            gates=(Gate(name="General text", level="failed", told="It finds general text 1.8 times as surprising."),),
            figures=(
                Figure(
                    name="Perplexity",
                    base=summarize(many).model_copy(update={"value": 18.2, "low": 15.1, "high": 22.9}),
                    tuned=summarize(many).model_copy(update={"value": 32.7, "low": 27.0, "high": 39.4}),
                    unit="number",
                    less_is_better=True,
                ),
            ),
        ),
        Part(
            probe="demands",
            title="What you demanded",
            group="demands",
            asked="Each demand of the task, one by one.",
            gates=(Gate(name="Never promise refunds", level="unknown", told="A person has to read the answers."),),
        ),
    )


def write_full_report(run: RunFolder, n: int = 90) -> EvaluationReport:
    """Leave in a run's folder what a worker would have left: rows, report and curves."""
    rows = predictions(n)
    report = full_report(rows)
    for step in range(1, 61):
        run.add_metrics(step=step, loss=2.2 * 0.95**step + 0.1, tokens=step * 500)
        if step % 15 == 0:
            run.add_metrics(step=step, eval_loss=2.2 * 0.96**step + 0.25 + step * 0.004)
    run.write_report(report, rows)
    return report
