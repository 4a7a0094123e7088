"""The plots of the trials, as SVG text: score by rows with what is to be expected of all rows, by time and by memory.

Owns their drawing and escaping. Colours are classes that style.css fills, so that light and dark both read well. Needs
no script. Refuses to compute what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from assistant.standing import GONE, Point, Standing
from assistant.ui import html
from trainers.trials.portions import learned

_LEFT, _TOP, _RIGHT, _BELOW = 44, 12, 182, 40  # around the plane: ticks, air, names, axis
_APART = 15  # pixels between two names
_DODGE = 5.0  # pixels between options that stand at the same place
_LONGEST = 24  # characters of a name
COLOURS = 8


@dataclass(frozen=True)
class _Plane:
    """Where a value in [low, high] is drawn; `x` takes what is on the lower axis."""

    wide: float
    high: float
    x: Callable[[float], float]
    lowest: float
    highest: float

    def y(self, score: float) -> float:
        reach = (self.highest - self.lowest) or 1.0
        return _TOP + self.high * (1 - (min(max(score, self.lowest), self.highest) - self.lowest) / reach)


def colour(number: int) -> str:
    """The class of an option's colour."""
    return f"tw-tr-c{number % COLOURS}"


def plots(standings: Sequence[Standing], train_rows: int | None) -> str:
    """All plots; empty where nothing was scored yet."""
    shown = [one for one in sorted(standings, key=lambda one: one.number) if one.points]
    if not shown:
        return ""
    return (
        f'<div class="tw-tr-plots">{_by_rows(shown, train_rows)}<div class="tw-tr-pair">'
        f"{_by_cost('Score against time spent', shown, lambda p: p.seconds, html.duration)}"
        f"{_by_cost('Score against memory', shown, lambda p: p.memory_gb, _gigabytes)}</div></div>"
    )


# By rows


def _by_rows(shown: Sequence[Standing], train_rows: int | None) -> str:
    portions = sorted({point.portion for one in shown for point in one.points})
    whole = any(one.promise and not one.promise.tried_in_full and one.state not in GONE for one in shown)
    ticks = sorted({*portions, *([1.0] if whole else [])})
    wide, high = 520.0, 230.0
    plane = _Plane(wide, high, _log_scale(ticks, wide), *_reach(shown))
    lines = "".join(_line(one, plane, place - (len(shown) - 1) / 2) for place, one in enumerate(shown))
    bands = "".join(_band(one, plane, place - (len(shown) - 1) / 2) for place, one in enumerate(shown))
    marks = "".join(
        f'<line x1="{plane.x(at):.1f}" x2="{plane.x(at):.1f}" y1="{_TOP}" y2="{_TOP + high}" class="tw-tr-grid"/>'
        f'<text x="{plane.x(at):.1f}" y="{_TOP + high + 17}" text-anchor="middle">{_rows_told(at, train_rows)}</text>'
        for at in ticks
    )
    names = _names([(one, _end(one, plane)) for one in shown], plane)
    axis = "training rows" if train_rows else "share of the training rows"
    told = "Score by the training rows that an option had, with 95% intervals"
    if whole:
        told += "; dashed: what is expected of all rows"
    return (
        f'<figure><figcaption>{told}</figcaption><svg class="tw-tr-plot" role="img" aria-label="{escape(told)}" '
        f'viewBox="0 0 {_LEFT + wide + _RIGHT:.0f} {_TOP + high + _BELOW:.0f}">{_scale(plane)}{marks}{bands}{lines}'
        f'{names}<text x="{_LEFT + wide / 2:.0f}" y="{_TOP + high + 35}" text-anchor="middle">{axis}</text></svg>'
        "</figure>"
    )


def _log_scale(ticks: Sequence[float], wide: float) -> Callable[[float], float]:
    """Portions of the rows, each doubling as wide as the next; a single one stands in the middle."""
    low, high = math.log(ticks[0]), math.log(ticks[-1])
    if low == high:
        return lambda at: _LEFT + wide / 2
    return lambda at: _LEFT + wide * (0.07 + 0.86 * (math.log(at) - low) / (high - low))


def _rows_told(portion: float, train_rows: int | None) -> str:
    if train_rows is None:
        return f"{portion:.0%}"
    count = learned(train_rows, portion)
    return f"all {count:,}" if portion == 1 else f"{count:,}"


def _line(one: Standing, plane: _Plane, place: float) -> str:
    """The measured points of an option with their whiskers."""
    at = [(plane.x(point.portion) + place * _DODGE, plane.y(point.score.value)) for point in one.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dots = "".join(_dot(one, point, x, y, plane) for point, (x, y) in zip(one.points, at, strict=True))
    line = f'<polyline points="{path}" class="tw-tr-line"/>' if len(at) > 1 else ""
    return f'<g class="{_class(one)}">{line}{dots}</g>'


def _dot(one: Standing, point: Point, x: float, y: float, plane: _Plane) -> str:
    low, high = plane.y(point.score.low), plane.y(point.score.high)
    told = (
        f"{one.candidate.title}: {point.score}, {point.portion:.0%} of the rows, {html.duration(point.seconds)}, "
        f"{_gigabytes(point.memory_gb)}"
    )
    return (
        f'<g><title>{escape(told)}</title><line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" '
        f'class="tw-tr-whisker"/><path d="M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6" class="tw-tr-whisker"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="tw-tr-dot"/></g>'
    )


def _band(one: Standing, plane: _Plane, place: float) -> str:
    """What is to be expected of all rows: dashed from the last point on, with its interval as a band."""
    last, promise = one.last, one.promise
    if last is None or promise is None or promise.tried_in_full or last.portion >= 1 or one.state in GONE:
        return ""
    x1, x2 = plane.x(last.portion) + place * _DODGE, plane.x(1.0) + place * _DODGE
    corners = [(x1, last.score.value), (x2, promise.high), (x2, promise.low)]
    area = " ".join(f"{x:.1f},{plane.y(score):.1f}" for x, score in corners)
    told = f"{one.candidate.title}: {promise.value:.0%} ({promise.low:.0%} to {promise.high:.0%}) expected of all rows"
    return (
        f'<g class="{_class(one)}"><title>{escape(told)}</title><polygon points="{area}" class="tw-tr-band"/>'
        f'<line x1="{x1:.1f}" y1="{plane.y(last.score.value):.1f}" x2="{x2:.1f}" y2="{plane.y(promise.value):.1f}" '
        'class="tw-tr-dashed"/></g>'
    )


def _end(one: Standing, plane: _Plane) -> float:
    """Where an option's name belongs: beside its last point, or what is expected of it."""
    assert one.last is not None
    foretold = one.promise and not one.promise.tried_in_full and one.state not in GONE
    return plane.y(one.promise.value if one.promise and foretold else one.last.score.value)


def _names(ends: Sequence[tuple[Standing, float]], plane: _Plane) -> str:
    """The names at the right, moved apart where they would cover each other."""
    ordered = sorted(ends, key=lambda end: end[1])
    at: list[float] = []
    for _, y in ordered:
        at.append(max(y, at[-1] + _APART) if at else y)
    over = max(0.0, at[-1] - (_TOP + plane.high))
    for place in range(len(at) - 1, -1, -1):  # those at the foot are pushed up again
        most = _TOP + plane.high if place == len(at) - 1 else at[place + 1] - _APART
        at[place] = min(at[place], most) if over else at[place]
    x = _LEFT + plane.wide + 10
    return "".join(
        f'<g class="{_class(one)}"><path d="M{x - 8:.1f} {y:.1f}h6" class="tw-tr-line"/><text x="{x + 2:.1f}" '
        f'y="{y + 4:.1f}" class="tw-tr-name">{escape(_cut(one.candidate.title))}</text></g>'
        for (one, _), y in zip(ordered, at, strict=True)
    )


# By what it costs


def _by_cost(
    title: str, shown: Sequence[Standing], cost: Callable[[Point], float], told: Callable[[float], str]
) -> str:
    """Each option where it was tried on most rows: the score over what that took."""
    last = [(one, one.last) for one in shown if one.last]
    most = max((cost(point) for _, point in last), default=0.0) or 1.0
    wide, high = 300.0, 150.0
    plane = _Plane(wide, high, lambda at: _LEFT + wide * (0.07 + 0.86 * at / most), *_reach(shown))
    ticks = "".join(
        f'<text x="{plane.x(at):.1f}" y="{_TOP + high + 17}" text-anchor="middle">{escape(told(at))}</text>'
        for at in (0.0, most / 2, most)
    )
    dots = "".join(
        f'<g class="{_class(one)}">{_dot(one, point, x, plane.y(point.score.value), plane)}</g>'
        for place, (one, point) in enumerate(last)
        for x in (plane.x(cost(point)) + (place - (len(last) - 1) / 2) * _DODGE,)
    )
    return (
        f'<figure><figcaption>{title}</figcaption><svg class="tw-tr-plot" role="img" aria-label="{title}" '
        f'viewBox="0 0 {_LEFT + wide + 22:.0f} {_TOP + high + 24:.0f}">{_scale(plane)}{ticks}{dots}</svg></figure>'
    )


# Both


def _reach(shown: Sequence[Standing]) -> tuple[float, float]:
    """The part of [0, 1] that is drawn, from one round score to another."""
    lows = [point.score.low for one in shown for point in one.points]
    highs = [point.score.high for one in shown for point in one.points]
    foretold = [one.promise for one in shown if one.promise and one.state not in GONE]
    low = min([*lows, *(promise.low for promise in foretold)])
    high = max([*highs, *(promise.high for promise in foretold)])
    step = _step(high - low)
    low = max(0.0, math.floor(low / step) * step)
    return low, min(1.0, max(math.ceil(high / step) * step, low + step))


def _step(span: float) -> float:
    """Between two lines across."""
    return 0.1 if span <= 0.5 else 0.2


def _scale(plane: _Plane) -> str:
    """Lines across at round scores."""
    step = _step(plane.highest - plane.lowest)
    count = math.floor((plane.highest - plane.lowest) / step + 1e-9)
    at = sorted({round(plane.lowest + step * number, 2) for number in range(count + 1)})
    return "".join(
        f'<line x1="{_LEFT}" x2="{_LEFT + plane.wide:.0f}" y1="{plane.y(score):.1f}" y2="{plane.y(score):.1f}" '
        f'class="tw-tr-grid"/><text x="{_LEFT - 7}" y="{plane.y(score) + 4:.1f}" text-anchor="end">{score:.0%}</text>'
        for score in at
    )


def _class(one: Standing) -> str:
    gone = " tw-tr-gone" if one.state in GONE else ""
    return f"{colour(one.number)}{gone}"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _gigabytes(gigabytes: float) -> str:
    return f"{gigabytes:.1f} GB"
