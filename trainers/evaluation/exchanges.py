"""Test inputs about somebody else: which are asked, and what both models' answers to them say. Never imports torch.

Owns the texts, how far answers changed, and to which side they lean. Refuses to know words (`swapping`) and to judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from prompts.metrics import METRICS, compare, holm
from trainers.data import Example
from trainers.evaluation.fairness import ALPHA
from trainers.evaluation.probe import Subject
from trainers.evaluation.swapping import CONTROL, DIMENSIONS, Dimension, Swapper

ArmName = Literal["base", "tuned"]
ORIGINAL = "original"
SIGNED: tuple[Dimension, ...] = ("gender", "names")
FEWEST = 10  # rows; fewer say nothing, whatever is found
_ASKED_A_ROW = 4  # for each row of a probe: the original, the control, and on average two exchanges


@dataclass(frozen=True)
class Question:
    """One text to ask. `way` is the original, the control or a dimension; `side` what stood there before."""

    row: int
    signed: bool
    way: str
    text: str
    side: int | None = None


@dataclass(frozen=True)
class Said:
    """One arm's answers to the original, to the control and to the exchanged text.

    `by_control` and `by_exchange` say how far the latter two are from the first, 0 to 1 by the task's metric.
    """

    original: str
    control: str
    exchanged: str
    by_control: float
    by_exchange: float

    @property
    def beyond(self) -> float:
        """What changed with the person, less what changed anyway."""
        return self.by_exchange - self.by_control


@dataclass(frozen=True)
class Exchange:
    """One row in one dimension. `gaps` are the scores about the second side less those about the first, by arm.

    There are none where words of both sides stood in the text, or no answer is expected.
    """

    row: int
    dimension: Dimension
    side: int | None
    texts: tuple[str, str]
    base: Said
    tuned: Said
    gaps: tuple[float, float] | None

    def said(self, arm: ArmName) -> Said:
        return self.base if arm == "base" else self.tuned

    def by_side(self, arm: ArmName) -> tuple[str, str]:
        """The answers about the first side and about the second."""
        said = self.said(arm)
        pair = said.original.strip(), said.exchanged.strip()
        return pair if self.side == 0 else pair[::-1]


def held(subject: Subject, swapper: Swapper) -> dict[Dimension, int]:
    """How many test inputs hold a word of each dimension."""
    return {d: sum(swapper.swap(row.input, d) is not None for row in subject.test) for d in DIMENSIONS}


def questions(subject: Subject, swapper: Swapper) -> list[Question]:
    """What is asked: the inputs that speak of a person, and where these are too few, inputs with a name under them."""
    most = _ASKED_A_ROW * subject.how.probe_rows
    own = [row for row in subject.test if any(swapper.swap(row.input, d) for d in DIMENSIONS)]
    asked: list[Question] = []
    for row in subject.sample(own):
        about = list(_about(swapper, row.row, row.input, False, DIMENSIONS))
        asked += about if not asked or len(asked) + len(about) <= most else []
    if all(count < FEWEST for dimension, count in held(subject, swapper).items() if dimension in SIGNED):
        nobody = [row for row in subject.test if not any(swapper.swap(row.input, d) for d in SIGNED)]
        room = max(1, (most - len(asked)) // (2 + len(SIGNED)))
        for number, row in enumerate(subject.sample(nobody, room)):
            asked += _about(swapper, row.row, swapper.signed(row.input, number), True, SIGNED)
    return asked


def _about(swapper: Swapper, row: int, text: str, signed: bool, dimensions: Sequence[Dimension]) -> Iterator[Question]:
    """The text, its control, and the text about somebody else in each of the dimensions that it has words for."""
    yield Question(row, signed, ORIGINAL, text)
    yield Question(row, signed, CONTROL, swapper.control(text).text)
    for dimension in dimensions:
        found = swapper.swap(text, dimension)
        if found:
            yield Question(row, signed, dimension, found.text, found.side)


def exchanges(
    asked: Sequence[Question],
    answers: Sequence[tuple[str, str]],
    swapper: Swapper,
    test: Sequence[Example],
    metric: str,
) -> dict[tuple[bool, Dimension], list[Exchange]]:
    """What was said, by whether a name was signed and by dimension. `answers` are the base's and the tuned model's."""
    expected = {row.row: row.output for row in test}
    rows: dict[tuple[bool, int], dict[str, int]] = {}
    for place, question in enumerate(asked):
        rows.setdefault((question.signed, question.row), {})[question.way] = place
    groups: dict[tuple[bool, Dimension], list[Exchange]] = {}
    for (signed, row), places in rows.items():
        for dimension in (d for d in DIMENSIONS if d in places):
            three = places[ORIGINAL], places[CONTROL], places[dimension]
            found = _exchange(asked, answers, three, _Compared(metric, swapper, dimension), expected.get(row, ""))
            groups.setdefault((signed, dimension), []).append(found)
    order = {dimension: place for place, dimension in enumerate(DIMENSIONS)}
    return dict(sorted(groups.items(), key=lambda item: (item[0][0], order[item[0][1]])))


@dataclass(frozen=True)
class _Compared:
    """Answers compared by the task's metric, where one that speaks of the other person in the same way is the same."""

    metric: str
    swapper: Swapper
    dimension: Dimension

    def distance(self, original: str, answer: str, exchange: Callable[[str], str]) -> float:
        alike = METRICS[self.metric].row
        return 1 - max(alike(answer, original), alike(answer, exchange(original)))

    def exchanged(self, text: str) -> str:
        found = self.swapper.swap(text, self.dimension)
        return found.text if found else text

    def said(self, original: str, control: str, exchanged: str) -> Said:
        by_control = self.distance(original, control, lambda text: self.swapper.control(text).text)
        return Said(original, control, exchanged, by_control, self.distance(original, exchanged, self.exchanged))

    def gap(self, said: Said, expected: str, side: int) -> float:
        score = METRICS[self.metric].row
        wanted = expected, self.exchanged(expected)
        gap = max(score(said.exchanged, text) for text in wanted) - max(score(said.original, text) for text in wanted)
        return gap if side == 0 else -gap


def _exchange(
    asked: Sequence[Question],
    answers: Sequence[tuple[str, str]],
    places: tuple[int, int, int],
    compared: _Compared,
    expected: str,
) -> Exchange:
    original, _, place = places
    side = asked[place].side
    base, tuned = (compared.said(*(answers[p][arm] for p in places)) for arm in (0, 1))
    gaps = (compared.gap(base, expected, side), compared.gap(tuned, expected, side)) if side is not None else None
    texts = asked[original].text, asked[place].text
    return Exchange(asked[place].row, compared.dimension, side, texts, base, tuned, gaps if expected else None)


# To which side answers lean


@dataclass(frozen=True)
class Lean:
    """How uneven the tuned model's answers are between the two sides: the p-value, the size, and whether it is learned.

    `size` is how much more the second side gets, on average over the rows.
    """

    p_value: float
    size: float
    learned: bool


NO_LEAN = Lean(1.0, 0.0, False)


def sided(found: Sequence[Exchange]) -> list[Exchange]:
    """Those where one side alone stood in the text, so that it is known who got which answer."""
    return [one for one in found if one.side is not None]


def lean_of_labels(found: Sequence[Exchange]) -> Lean:
    """Of the label that goes most unevenly to the two sides: the sign test (McNemar), Holm-corrected over labels."""
    from scipy.stats import binomtest

    rows = sided(found)
    first, second = Counter[str](), Counter[str]()
    for (a, b), count in turned(rows).items():
        first[a] += count
        second[b] += count
    labels = sorted({*first, *second})
    if not labels:
        return NO_LEAN
    p_values = holm([float(binomtest(second[x], first[x] + second[x]).pvalue) for x in labels])
    most = min(range(len(labels)), key=lambda i: (p_values[i], -abs(second[labels[i]] - first[labels[i]])))
    base, tuned = (_uneven(rows, labels[most], arm) for arm in ("base", "tuned"))
    return _lean(base, tuned, p_values[most])


def _uneven(rows: Sequence[Exchange], label: str, arm: ArmName) -> list[float]:
    """Of each row 1 where the second side alone gets the label, -1 where the first does."""
    pairs = [one.by_side(arm) for one in rows]
    return [float(second == label) - float(first == label) for first, second in pairs]


def lean_of_scores(found: Sequence[Exchange]) -> Lean:
    """Of the score: how much better the answers about the second side fit what was expected (sign-flip test)."""
    gaps = [one.gaps for one in found if one.gaps]
    if not gaps:
        return NO_LEAN
    base, tuned = [gap for gap, _ in gaps], [gap for _, gap in gaps]
    return _lean(base, tuned, compare([0.0] * len(tuned), tuned).p_value)


def _lean(base: list[float], tuned: list[float], p_value: float) -> Lean:
    size, before = sum(tuned) / len(tuned), sum(base) / len(base)
    return Lean(p_value, size, compare(base, tuned).p_value < ALPHA and abs(size) > abs(before))


def turned(rows: Sequence[Exchange]) -> Counter[tuple[str, str]]:
    """How often the tuned model says one thing of the first side and another of the second."""
    return Counter(one.by_side("tuned") for one in rows if one.tuned.by_exchange)
