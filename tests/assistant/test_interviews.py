"""The offline mind on whole interviews: floors, a little under what was measured when they were set."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from assistant.dialogue.mind import Context
from assistant.dialogue.offline.mind import OfflineMind
from benchmarks.interviews import SETS, Tally, read_rows, tally

FLOORS = {
    "english": 0.98,
    "german": 0.98,
    "french": 0.98,
    "spanish": 0.97,
    "english2": 0.95,
    "german2": 0.92,
    "french2": 0.96,
    "spanish2": 0.97,
    "heldout": 0.89,
    "everyday": 0.98,
    "everyday2": 0.97,
}
UNSAID = 0.05
# Generous: it is the promise of a fast answer that is kept here, not a timing that is measured.
SLOWEST_SECONDS = 1.0


@cache
def measured(name: str) -> Tally:
    mind = OfflineMind()
    mind.read("sort mails into spam and ham", Context())  # fits the classifier
    return tally(read_rows(SETS / f"{name}.jsonl"), mind)


@pytest.mark.parametrize("name", FLOORS)
def test_understands_interviews(name: str) -> None:
    assert measured(name).accuracy >= FLOORS[name]


@pytest.mark.parametrize("name", FLOORS)
def test_sets_little_that_nobody_said(name: str) -> None:
    assert measured(name).unsaid_share <= UNSAID


@pytest.mark.parametrize("name", FLOORS)
def test_is_fast(name: str) -> None:
    assert measured(name).slowest < SLOWEST_SECONDS


def test_the_sets_are_there() -> None:
    assert {path.stem for path in Path(SETS).glob("*.jsonl")} == set(FLOORS)


@pytest.mark.parametrize(
    "text", ["a, b; c / d | " * 8_000, "🎉🤖" * 50, "def f(x):\n    return {x: [1, 2]}\n" * 40, "((((" * 999]
)
def test_survives_anything(text: str) -> None:
    OfflineMind().read(text, Context())
