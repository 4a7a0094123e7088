"""The report's sections as HTML, for the screen and for the printable page alike.

Owns which facts stand in which section, and in which words. Each section is empty where there is nothing to say.
Refuses to draw plots (`plots`) and to lay out a page. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from prompts.metrics import Comparison, Score
from trainers.cards import plots
from trainers.cards.facts import (
    GROUPS,
    LEVELS,
    NOT_STATED,
    Facts,
    better,
    duration,
    outcome,
    shown,
    three_sentences,
)
from trainers.cards.plots import Bar
from trainers.evaluation.records import Case, Figure, Gate, LabelScore, Level, Part, Prediction, Remedy, Unit

# A remedy of a gate as a button; the screen gives one, paper does not.
Button = Callable[[int, int, Remedy], str]
_MARKS: dict[Level, str] = {"passed": "✓", "warning": "!", "failed": "✕", "unknown": "?"}
_WORST: tuple[Level, ...] = ("failed", "warning", "unknown", "passed")
_MOST_CASES, _MOST_ROWS, _MOST_PRINTED, _MOST_POINTS = 12, 60, 10, 300
_OUTCOMES = {"failed": "no answer", "lost": "lost", "won": "won", "same": "same"}
_OLD = {
    "better": ("passed", "Yes, it really got better."),
    "worse": ("failed", "It got worse. Do not use it."),
    "cannot tell": ("warning", "Cannot tell: the difference may be chance. More held-out rows would help."),
}


def verdict(facts: Facts) -> str:
    """The headline with its level and reasons, three sentences, and the figures that matter most."""
    report = facts.report
    if report is None:
        return '<div class="rp-verdict rp-unknown"><h2>Not measured: this run has no report yet.</h2></div>'
    level, headline = _OLD[report.comparison.verdict]
    reasons: tuple[str, ...] = ()
    if report.verdict:
        level, headline, reasons = report.verdict.level, report.verdict.headline, report.verdict.reasons
    listed = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in three_sentences(facts))
    return (
        f'<div class="rp-verdict rp-{escape(level)}"><div class="rp-mark">{_MARKS[level]}</div><div>'  # type: ignore[index]
        f"<h2>{escape(headline)}</h2>{f'<ul>{listed}</ul>' if listed else ''}</div></div>"
        f'<div class="rp-three">{told}</div>{_tiles(facts)}'
    )


def _tiles(facts: Facts) -> str:
    report = facts.report
    assert report is not None
    change = report.comparison
    shown = [
        (f"{change.difference * 100:+.0f}", f"points of {report.metric}, tuned against base"),
        (f"{change.low * 100:+.0f} to {change.high * 100:+.0f}", "95 % interval of that change"),
        (f"{change.n:,}", "held-out rows"),
        (duration(report.train_seconds) if report.train_seconds else "–", "training time"),
        (f"{report.peak_memory_gb:.1f} GB", "memory at most"),
    ]
    cells = "".join(f"<div><b>{escape(figure)}</b><span>{escape(caption)}</span></div>" for figure, caption in shown)
    return f'<div class="rp-tiles">{cells}</div>'


def gates(facts: Facts, button: Button | None = None) -> str:
    """Every check by its group: level, what was found, and what to do about it."""
    listed = list(enumerate(facts.gates))
    if not listed:
        return ""
    groups = []
    for group, title in GROUPS.items():
        ours = [(number, gate) for number, (of, gate) in listed if of == group]
        if ours:
            cells = "".join(_gate(number, gate, button) for number, gate in ours)
            groups.append(f'<div class="rp-group"><h4>{escape(title)}</h4>{cells}</div>')
    counts = [(level, sum(gate.level == level for _, (_, gate) in listed)) for level in _WORST]
    told = "".join(
        f'<span class="rp-pill rp-{level}">{count} {LEVELS[level]}</span>' for level, count in counts if count
    )
    return _section("Checks", "".join(groups), told)


def _gate(number: int, gate: Gate, button: Button | None) -> str:
    remedies = "".join(_remedy(number, index, remedy, button) for index, remedy in enumerate(gate.remedies))
    more = f'<div class="rp-remedies"><span class="rp-soft">What would help</span>{remedies}</div>' if remedies else ""
    return (
        f'<div class="rp-gate rp-{gate.level}" data-gate="{escape(gate.name)}"><div class="rp-mark">'
        f'{_MARKS[gate.level]}</div><div><div class="rp-gate-head"><b>{escape(capital(gate.name))}</b>'
        f'<span class="rp-level">{LEVELS[gate.level]}</span></div><div>{escape(gate.told)}</div>{more}</div></div>'
    )


def _remedy(number: int, index: int, remedy: Remedy, button: Button | None) -> str:
    act = button(number, index, remedy) if button and remedy.changes else ""
    return (
        f'<div class="rp-remedy"><span><b>{escape(remedy.title)}.</b> {escape(remedy.why)}</span>{act}</div>'
    )  # fmt: skip


def scores(facts: Facts) -> str:
    """Every arm's score on the same rows, and the scores of single labels and fields."""
    report = facts.report
    if report is None:
        return ""
    if report.arms:
        rows = [
            Bar(capital(arm.name), arm.score, _arm_told(arm.score, arm.failed), _kind(arm.name)) for arm in report.arms
        ]
    else:
        rows = [
            Bar("Base", report.base, _arm_told(report.base), "base"),
            Bar("Tuned", report.tuned, _arm_told(report.tuned), "tuned"),
        ]
    against = "".join(
        f"<li>Tuned against {escape(arm.name)}: {escape(arm.change.told)}</li>" for arm in report.arms if arm.change
    )
    basis = (
        f"In per cent, on the same {report.tuned.n:,} held-out rows. The thin line is "
        f"the 95 % interval: with other rows the figure could as well lie there."
    )
    body = (
        f'<p class="rp-soft">{basis}</p>{plots.bars(rows)}'
        f'{f"<ul class=rp-list>{against}</ul>" if against else ""}'
    )  # fmt: skip
    return (
        _section(f"Score: {report.metric}", body)
        + _labels("Score for each expected label", report.labels)
        + _labels("Score for each field", report.fields)
    )


def _arm_told(score: Score, failed: int = 0) -> str:
    return f"{score}, {failed} without an answer" if failed else str(score)


def _kind(name: str) -> str:
    low = name.casefold()
    return "tuned" if "tuned" in low else "base" if low == "base" else "other"


def _labels(title: str, labels: Sequence[LabelScore]) -> str:
    if not labels:
        return ""
    rows = [(f"{one.label} (n={one.n})", one.base, one.tuned) for one in labels]
    return _section(title, plots.pairs(rows), plots.key())


def mistakes(facts: Facts) -> str:
    """The confusion matrices, base and tuned side by side."""
    if not (facts.report and facts.report.confusion):
        return ""
    titles = ("Base", "Tuned")
    cells = "".join(plots.heat(one, titles[i % 2]) for i, one in enumerate(facts.report.confusion))
    intro = '<p class="rp-soft">A row is the right answer, a column what was answered; on the diagonal they agree.</p>'
    return _section("What is taken for what", f'{intro}<div class="rp-side">{cells}</div>')


def confidence(facts: Facts) -> str:
    """Whether it is right as often as it is sure."""
    if not (facts.report and facts.report.calibration):
        return ""
    names = {"base": "Base", "tuned": "Tuned"}
    cells = "".join(plots.reliability(one, names.get(one.arm, one.arm)) for one in facts.report.calibration)
    intro = (
        '<p class="rp-soft">On the diagonal it is right exactly as often as it is sure; below it, it promises too '
        "much.</p>"
    )
    return _section("Is it as sure as it is right?", f'{intro}<div class="rp-side">{cells}</div>')


def learning(facts: Facts) -> str:
    """The loss over the training, of training and dev rows."""
    series = [
        (name, kind, _thin([(float(line["step"]), float(line[key])) for line in facts.metrics if key in line]))
        for name, kind, key in (("training rows", "tuned", "loss"), ("dev rows", "dev", "eval_loss"))
    ]
    drawn = plots.curves(series)
    return _section("How it learned: the loss, less is better", drawn) if drawn else ""


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    step = -(-len(points) // _MOST_POINTS)
    return points[:: step or 1]


def probes(facts: Facts, *, folded: bool) -> str:
    """What each probe did and found: figures of both models with intervals, and cases to read."""
    return "".join(_probe(part, folded) for part in facts.parts)


def _probe(part: Part, folded: bool) -> str:
    worst = next((level for level in _WORST if any(gate.level == level for gate in part.gates)), None)
    pill = f'<span class="rp-pill rp-{worst}">{LEVELS[worst]}</span>' if worst else ""
    inner = (
        f'<p class="rp-soft">{escape(part.asked)}</p>{_figures(part.figures)}{_cases(part.cases)}'
        f"{f'<p class=rp-soft><b>What this cannot show.</b> {escape(part.limits)}</p>' if part.limits else ''}"
    )
    shut = "" if not folded or worst in ("failed", "warning") else " data-shut"
    opened = "" if shut else " open"
    return (
        f'<details class="rp-section rp-fold" data-probe="{escape(part.probe)}"{opened}><summary><h3>'
        f"{escape(part.title)}</h3>{pill}</summary>{inner}</details>"
    )


def _figures(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    rows = "".join(
        f"<tr><td>{escape(one.name)}{f'<div class=rp-soft>{escape(one.note)}</div>' if one.note else ''}</td>"
        f"<td>{_told(one.base, one.unit)}</td><td>{_told(one.tuned, one.unit)}</td><td>{_change(one)}</td>"
        f"<td>{plots.spans(one.base, one.tuned) if _drawable(one) else ''}</td></tr>"
        for one in figures
    )
    drawn = any(map(_drawable, figures))
    key = plots.key() if drawn else ""
    titles = ("", "base", "tuned", "change", "0 to 100 %" if drawn else "")
    head = f"<tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr>"
    return f'{key}<div class="rp-scroll"><table class="rp-table rp-figures">{head}{rows}</table></div>'


def _told(score: Score | None, unit: Unit) -> str:
    if score is None:
        return "–"
    value, low, high = (shown(figure, unit) for figure in (score.value, score.low, score.high))
    return f'<b>{value}</b><div class="rp-soft">{low} to {high}, n={score.n:,}</div>'


def _change(figure: Figure) -> str:
    change = figure.change
    if change is None:
        return "–"
    reading = better(figure)
    value, low, high = (shown(v, figure.unit, signed=True) for v in (change.difference, change.low, change.high))
    return (
        f'<b class="rp-is-{escape(reading.split(" ")[0])}">{value}</b>'
        f'<div class="rp-soft">{low.removesuffix(" points")} to {high.removesuffix(" points")}, {escape(reading)}</div>'
    )


def _drawable(figure: Figure) -> bool:
    """Whether it lies within 0 and 100 %: a difference of shares does not."""
    arms = [arm for arm in (figure.base, figure.tuned) if arm]
    return figure.unit == "share" and bool(arms) and all(arm.low >= 0 for arm in arms)


def _cases(cases: Sequence[Case]) -> str:
    if not cases:
        return ""
    cells = "".join(_case(case) for case in cases[:_MOST_CASES])
    left = len(cases) - _MOST_CASES
    more = f'<p class="rp-soft">{left} more stand in the JSON file.</p>' if left > 0 else ""
    return f'<div class="rp-cases">{cells}</div>{more}'


def _case(case: Case) -> str:
    answers = (("base", case.base), ("tuned", case.tuned)) if case.base or case.tuned else ()
    expected = (("expected", case.expected),) if case.expected else ()
    said = "".join(
        f'<div><span class="rp-soft">{name}</span><div class="rp-text">{escape(text.strip()) or "–"}</div></div>'
        for name, text in (*expected, *answers)
    )
    note = f'<div class="rp-soft">{escape(case.note)}</div>' if case.note else ""
    return (
        f'<div class="rp-case"><b>{escape(case.title)}</b><div class="rp-text">{escape(case.input)}</div>'
        f'<div class="rp-said">{said}</div>{note}</div>'
    )


def rows(facts: Facts, *, filters: bool) -> str:
    """Test rows with both answers, failed and lost ones first; with `filters`, these can be chosen."""
    if not facts.predictions:
        return ""
    ordered = sorted(facts.predictions, key=lambda one: list(_OUTCOMES).index(outcome(one)))
    counts = {kind: sum(outcome(one) == kind for one in ordered) for kind in _OUTCOMES}
    shown = [
        _row(one, place >= _MOST_PRINTED)
        for kind in _OUTCOMES
        for place, one in enumerate([p for p in ordered if outcome(p) == kind][:_MOST_ROWS])
    ]
    picks = _picks(facts.run_id, counts, len(ordered)) if filters else _counted(counts)
    head = "<tr><th></th><th>input</th><th>expected</th><th>base</th><th>tuned</th></tr>"
    table = f'<table class="rp-table rp-rows">{head}{"".join(shown)}</table>'
    left = len(ordered) - len(shown)
    more = f'<p class="rp-soft">{left:,} more rows stand in the JSON file.</p>' if left else ""
    more += f'<p class="rp-soft rp-printed">On paper, at most {_MOST_PRINTED} rows of each kind.</p>'
    body = f'<div class="rp-picked">{picks}<div class="rp-scroll rp-scrolls">{table}</div></div>{more}'
    return _section("Rows won and lost", body)


def _picks(run_id: str, counts: dict[str, int], whole: int) -> str:
    """Radio buttons that need no script: the style sheet hides what is not chosen."""
    options = [("all", f"all {whole:,}", whole), *((k, f"{v} {counts[k]:,}", counts[k]) for k, v in _OUTCOMES.items())]
    buttons = "".join(
        f'<label><input type="radio" name="rows-{escape(run_id)}" value="{kind}"{" checked" if kind == "all" else ""}'
        f"{'' if count else ' disabled'}><span>{text}</span></label>"
        for kind, text, count in options
    )
    return f'<div class="rp-picks" role="radiogroup" aria-label="Which rows">{buttons}</div>'


def _counted(counts: dict[str, int]) -> str:
    told = ", ".join(f"{counts[kind]:,} {name}" for kind, name in _OUTCOMES.items() if counts[kind])
    return f'<p class="rp-soft">{told}</p>'


def _row(one: Prediction, beyond: bool) -> str:
    """A line of the table; what is `beyond` is left out on paper."""
    kind = outcome(one)
    cells = "".join(f'<td><div class="rp-text">{escape(text)}</div></td>' for text in (one.input, one.expected))
    said = "".join(
        f'<td><div class="rp-text">{escape(text)}</div>{f"<div class=rp-why>{escape(why)}</div>" if why else ""}'
        f'<div class="rp-soft">{score:.0%}</div></td>'
        for text, why, score in (
            (one.base, one.base_failed, one.base_score),
            (one.tuned, one.tuned_failed, one.tuned_score),
        )
    )
    pill = f'<span class="rp-pill rp-row-{kind}">{_OUTCOMES[kind]}</span><div class="rp-soft">row {one.row}</div>'
    return f'<tr data-outcome="{kind}"{" data-beyond" if beyond else ""}><td>{pill}</td>{cells}{said}</tr>'


def limits(facts: Facts) -> str:
    """What was not shown, in plain words."""
    told = list(facts.limits)
    if facts.report and not facts.parts:
        told.append(("Not measured", "Overfitting, lost abilities and bias were not looked at in this run."))
    if not told:
        return ""
    listed = "".join(f"<li><b>{escape(title)}.</b> {escape(text)}</li>" for title, text in told)
    return _section("What this report cannot show", f'<ul class="rp-list">{listed}</ul>')


def basis(facts: Facts) -> str:
    """What it rests on: data, plan, prompts, licences, and what it took."""
    plan, report = facts.plan, facts.report
    splits = ", ".join(f"{count:,} {name}" for name, count in facts.rows.items()) or "not known any more"
    lines: list[tuple[str, str]] = [
        ("Run", facts.name if facts.name == facts.run_id else f"{facts.name} ({facts.run_id})"),
        ("Base model", f"{facts.base}, licence {facts.base_licence}"),
        ("Data", f"{plan.data.path.name}: {splits} rows; licence {facts.data_licence}"),
        ("Way of tuning", f"{plan.strategy.brief}, {plan.objective.title}"),
        ("Prompt", f"version {facts.prompt.id}"),
        ("Energy", str(facts.energy)),
        ("Carbon", str(facts.carbon)),
        ("Cost", str(facts.cost)),
    ]
    if report:
        how = f"greedy, all models on the same rows, split seed {report.seed}, paired test p = {_p(report.comparison)}"
        lines.append(("How it was measured", how))
        if report.evaluation_seconds:
            lines.append(("Measuring took", duration(report.evaluation_seconds)))
    if facts.spec and facts.spec.licence:
        lines.append(("You asked of licences", facts.spec.licence))
    if NOT_STATED in (facts.base_licence, facts.data_licence):
        lines.append(
            ("", "Where a licence is not stated, ask who gave you the model or the data before you pass it on.")
        )
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines)
    texts = "".join(
        f"<h4>{escape(title)}: version {escape(version.id)}</h4><pre>{escape(prompt_text(version))}</pre>"
        for title, version in facts.prompts
    )
    return _section("What it rests on", f'<dl class="rp-basis">{cells}</dl>{texts}')


def prompt_text(version: Any) -> str:
    """A prompt version as one reads it."""
    shown = [f"System: {version.system}" if version.system else "", f"User: {version.template}"]
    turns = [f"Example: {d.input}\n→ {d.output}" for d in version.demonstrations]
    held = f"Held to: {version.allowed.told}" if version.allowed else ""
    return "\n\n".join(filter(None, [shown[0], *turns, shown[1], held]))


def _p(change: Comparison) -> str:
    return f"{change.p_value:.2g}"


def capital(text: str) -> str:
    """With a capital to begin with; the rest as it is."""
    return text[:1].upper() + text[1:]


def _section(title: str, body: str, aside: str = "") -> str:
    return (
        f'<section class="rp-section"><div class="rp-head"><h3>{escape(title)}</h3><span>{aside}</span></div>'
        f"{body}</section>"
    )
