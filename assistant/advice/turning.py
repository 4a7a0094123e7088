"""From how many rows on the advice would be another one, found by asking the rules again.

Owns what more rows of the same kind would be, as facts. Refuses to know any rule.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor, log10

from assistant.advice.facts import Facts
from assistant.advice.records import Kind

_STEP, _MOST = 1.05, 128.0  # so near the number is found, in up to so many times the rows
_NAMES: dict[Kind, str] = {
    "data": "more data",
    "prompt": "the prompt",
    "few_shot": "solved examples in the prompt",
    "retrieval": "retrieval",
    "prompt_tuning": "prompt tuning",
    "lora": "LoRA",
    "meta_lora": "meta-learning",
    "full": "full tuning",
    "preference": "learning from preferences",
    "smaller": "a smaller base",
    "larger": "a larger base",
}


def with_more_rows(facts: Facts, first: Callable[[Facts], Kind]) -> str:
    """What would be advised with more rows like these, and from how many on; empty where more change nothing."""
    if not facts.train_rows or facts.errors:
        return ""
    now, low, high = first(facts), 1.0, 2.0
    while first(_grown(facts, high)) == now:
        low, high = high, 2 * high
        if high > _MOST:
            return ""
    while high / low > _STEP:
        between = (low * high) ** 0.5
        low, high = (between, high) if first(_grown(facts, between)) == now else (low, between)
    grown = _grown(facts, high)
    return f"From about {_round_up(grown.answered):,} examples like these on: {_NAMES[first(grown)]}."


def _grown(facts: Facts, factor: float) -> Facts:
    """The facts with so many times the rows, each label alike."""
    names = ("rows", "answered", "train_rows", "dev_rows", "rarest", "rarest_train", "pairs", "thumbs")
    known = {name: value for name in names if (value := getattr(facts, name)) is not None}
    times = {name: value for name in ("load", "epoch_minutes") if (value := getattr(facts, name)) is not None}
    change = {name: round(value * factor) for name, value in known.items()}
    return facts.model_copy(update={**change, **{name: value * factor for name, value in times.items()}})


def _round_up(rows: int) -> int:
    """To two figures, as more would be more than the rules know."""
    unit: int = 10 ** max(0, floor(log10(max(1, rows))) - 1)
    return -(-rows // unit) * unit
