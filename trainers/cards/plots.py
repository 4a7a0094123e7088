"""Plots as HTML and SVG text: bars with intervals, heat maps, reliability, curves. One look for page and screen.

Owns their drawing and escaping; colours are CSS variables of report.css, so that a dark screen and white paper both
read well. Needs no script. Refuses to know what a run is. Never imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from prompts.metrics import Score
from trainers.evaluation.records import Calibration, Confusion

_MOST_LABELS = 14  # of a confusion matrix; beyond that no cell can be read
_SHADES = 10
OTHERS = "(others)"


@dataclass(frozen=True)
class Bar:
    """One bar in [0, 1] with its 95 % interval; `kind` is base, tuned or other."""

    title: str
    score: Score
    told: str
    kind: str = "other"


def bars(rows: Sequence[Bar]) -> str:
    """Bars in [0, 1], each with a whisker for its interval."""
    cells = "".join(
        f'<div class="rp-bar"><span class="rp-bar-name">{escape(row.title)}</span>{_track(row.score, row.kind)}'
        f'<span class="rp-bar-told">{escape(row.told)}</span></div>'
        for row in rows
    )
    return f'<div class="rp-bars">{cells}<div class="rp-bar rp-axis"><span></span>{_ticks()}<span></span></div></div>'


def _track(score: Score, kind: str) -> str:
    whisker = f'<i class="rp-whisker" style="left:{_percent(score.low)};width:{_percent(score.high - score.low)}"></i>'
    return (
        f'<span class="rp-track"><i class="rp-fill rp-of-{escape(kind)}" style="width:{_percent(score.value)}"></i>'
        f"{whisker}</span>"
    )


def _ticks() -> str:
    marks = "".join(f'<i style="left:{at}%">{at}</i>' for at in (0, 25, 50, 75, 100))
    return f'<span class="rp-ticks">{marks}</span>'


def pairs(rows: Sequence[tuple[str, float, float]]) -> str:
    """Two thin bars in [0, 1] under each name: base and tuned."""
    cells = "".join(
        f'<div class="rp-bar"><span class="rp-bar-name">{escape(name)}</span><span class="rp-two">'
        f'<i class="rp-thin rp-of-base" style="width:{_percent(a)}"></i>'
        f'<i class="rp-thin rp-of-tuned" style="width:{_percent(b)}"></i></span>'
        f'<span class="rp-bar-told">{a:.0%} → <b>{b:.0%}</b></span></div>'
        for name, a, b in rows
    )
    return f'<div class="rp-bars rp-scrolls">{cells}</div>'


def key() -> str:
    """Which colour is which model."""
    return '<span class="rp-key"><i class="rp-of-base"></i>base <i class="rp-of-tuned"></i>tuned</span>'


def spans(base: Score | None, tuned: Score | None) -> str:
    """Two points in [0, 1] with their intervals on one line."""
    marks = "".join(
        f'<i class="rp-span rp-of-{kind}" style="left:{_percent(s.low)};width:{_percent(s.high - s.low)}"></i>'
        f'<i class="rp-dot rp-of-{kind}" style="left:{_percent(s.value)}"></i>'
        for kind, s in (("base", base), ("tuned", tuned))
        if s is not None
    )
    return f'<span class="rp-spans">{marks}</span>'


def heat(confusion: Confusion, title: str) -> str:
    """A confusion matrix: rows are what was right, columns what was answered. Each row is shaded by its own total.

    Of many labels, those with the most mistakes; the others' answers stand in one column.
    """
    shown = _shown_labels(confusion)
    rows, columns = _cut(confusion, shown)
    head = "".join(f'<th class="rp-turned"><span title="{escape(name)}">{escape(name)}</span></th>' for name in columns)
    body = "".join(
        f'<tr><th title="{escape(label)}">{escape(label)}</th>{_heat_row(label, counts, columns)}</tr>'
        for label, counts in rows
    )
    left = len(confusion.labels) - len(rows)
    note = f'<div class="rp-soft">{left} labels with fewer mistakes are not shown.</div>' if left else ""
    return (
        f'<figure class="rp-heat"><figcaption>{escape(title)}</figcaption><div class="rp-scroll"><table>'
        f"<tr><th></th>{head}</tr>{body}</table></div>{note}</figure>"
    )


def _shown_labels(confusion: Confusion) -> list[str]:
    columns = list(confusion.columns)
    wrong = {
        label: sum(counts) - (counts[columns.index(label)] if label in columns else 0)
        for label, counts in zip(confusion.labels, confusion.counts, strict=True)
    }
    if len(wrong) <= _MOST_LABELS:
        return list(confusion.labels)
    most = set(sorted(wrong, key=lambda label: -wrong[label])[:_MOST_LABELS])
    return [label for label in confusion.labels if label in most]


def _cut(confusion: Confusion, shown: Sequence[str]) -> tuple[list[tuple[str, list[int]]], list[str]]:
    """The shown rows over the shown columns, with one more column for the labels that are left out."""
    left_out = set(confusion.labels) - set(shown)
    kept = [i for i, name in enumerate(confusion.columns) if name not in left_out]
    columns = [confusion.columns[i] for i in kept] + ([OTHERS] if left_out else [])
    rows = []
    for label, counts in zip(confusion.labels, confusion.counts, strict=True):
        if label in shown:
            row = [counts[i] for i in kept]
            rows.append((label, [*row, sum(counts) - sum(row)] if left_out else row))
    return rows, columns


def _heat_row(label: str, counts: Sequence[int], columns: Sequence[str]) -> str:
    whole = sum(counts) or 1
    cells = []
    for name, count in zip(columns, counts, strict=True):
        shade = math.ceil(count / whole * _SHADES)
        kind = "right" if name == label else "wrong"
        told = f"{label} answered as {name}: {count} of {whole}"
        strong = " rp-strong" if shade > _SHADES * 0.55 else ""
        cells.append(
            f'<td class="rp-{kind}{strong}" style="--rp-shade:{shade * 100 // _SHADES}%" title="{escape(told)}">'
            f"{count or ''}</td>"
        )
    return "".join(cells)


def reliability(calibration: Calibration, title: str) -> str:
    """How often it was right against how sure it was; on the diagonal the two agree. A dot's size is how many rows."""
    left, top, side = 38, 10, 200
    grid = "".join(
        f'<line x1="{left}" x2="{left + side}" y1="{y:.0f}" y2="{y:.0f}" class="rp-grid"/>'
        f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{share:.0%}</text>'
        f'<text x="{left + share * side:.0f}" y="{top + side + 16}" text-anchor="middle">{share:.0%}</text>'
        for share in (0, 0.5, 1)
        for y in (top + side * (1 - share),)
    )
    biggest = max((b.n for b in calibration.bins), default=1) or 1
    dots = "".join(
        f'<circle cx="{left + b.confidence * side:.1f}" cy="{top + side * (1 - b.right / b.n):.1f}" '
        f'r="{3 + 8 * math.sqrt(b.n / biggest):.1f}" class="rp-point"><title>'
        f"{b.n} rows, {b.confidence:.0%} sure, {b.right / b.n:.0%} right</title></circle>"
        for b in calibration.bins
        if b.n
    )
    told = f"On average {calibration.error * 100:.0f} points apart (n={calibration.n}, Brier {calibration.brier:.2f})."
    return (
        f'<figure class="rp-reliability"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {left + side + 22} {top + side + 36}" role="img" aria-label="{escape(told)}">{grid}'
        f'<line x1="{left}" y1="{top + side}" x2="{left + side}" y2="{top}" class="rp-diagonal"/>{dots}'
        f'<text x="{left + side / 2:.0f}" y="{top + side + 32}" text-anchor="middle">how sure it was</text></svg>'
        f'<div class="rp-soft">Up: how often it was right. {escape(told)}</div></figure>'
    )


def curves(series: Sequence[tuple[str, str, Sequence[tuple[float, float]]]]) -> str:
    """Lines over steps: name, kind (base or tuned colour), points of step and loss. Empty for none."""
    points = [point for _, _, line in series for point in line if math.isfinite(point[1])]
    if not points:
        return ""
    left, top, wide, high = 46, 10, 560, 180
    last, most = max(x for x, _ in points) or 1, max(y for _, y in points)
    least = min(0.0, min(y for _, y in points))
    reach = (most - least) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x / last * wide, top + high * (1 - (y - least) / reach)

    grid = "".join(
        f'<line x1="{left}" x2="{left + wide}" y1="{y:.0f}" y2="{y:.0f}" class="rp-grid"/>'
        f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{value:.3g}</text>'
        for value in (least, least + reach / 2, most)
        for _, y in (at(0, value),)
    )
    steps = "".join(
        f'<text x="{at(step, 0)[0]:.0f}" y="{top + high + 16}" text-anchor="middle">{step:g}</text>'
        for step in dict.fromkeys((0, round(last / 2), round(last)))
    )
    lines = "".join(_line([at(*p) for p in line if math.isfinite(p[1])], kind) for _, kind, line in series)
    named = "".join(f'<i class="rp-of-{escape(kind)}"></i>{escape(name)} ' for name, kind, line in series if line)
    return (
        f'<div class="rp-key">{named}</div><svg class="rp-curves" viewBox="0 0 {left + wide + 20} {top + high + 36}" '
        f'role="img" aria-label="Loss over steps">{grid}{steps}{lines}'
        f'<text x="{left + wide / 2:.0f}" y="{top + high + 32}" text-anchor="middle">step</text></svg>'
    )


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    if not points:
        return ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    few = len(points) <= 40
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" class="rp-on-{kind}"/>' for x, y in points if few)
    return f'<polyline points="{path}" class="rp-line-{kind}"/>{dots}'


def _percent(share: float) -> str:
    return f"{max(0.0, min(1.0, share)):.1%}"
