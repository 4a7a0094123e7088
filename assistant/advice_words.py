"""How an advice's figures are said: time, memory by its parts, energy, money, how sure, and which cards would do.

Owns these words, for screen and terminal alike. Refuses to compute: each figure stands in the advice already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assistant.advice.evidence import RULE
from assistant.advice.records import Advice, Conflict, Option, Reason, Standing
from assistant.dialogue.wording import name_of, value_of
from trainers.estimating.records import Fit, Memory, Seconds, ServingEstimate, TrainingEstimate
from trainers.plan import TrainingPlan

STANDINGS: dict[Standing, str] = {
    "advised": "advised",
    "good": "good too",
    "possible": "possible",
    "not now": "not now",
    "impossible": "cannot work here",
}
# What memory is for, as somebody would say it who never trained a model.
PARTS = {
    "weights": "the model",
    "adapter": "what is added to it",
    "gradients": "what is to change",
    "optimizer": "how it changed so far",
    "activations": "results in between",
    "logits": "scores of all words",
    "cache": "the text so far",
    "runtime": "programs",
}
PHASES = {
    "loading": "loading",
    "training": "training",
    "checking": "checks in between",
    "testing": "test rows",
    "examining": "examination",
}
_SMALL = 0.03  # of all memory: a smaller part cannot be seen in a bar
CARDS = (8, 12, 16, 24, 48, 80)  # GB of common graphics cards
_ADDRESS = re.compile(
    r"arXiv[: ]\s*(?P<arxiv>\d{4}\.\d{4,5})|(?:https?://)?(?P<site>(?:[a-z0-9-]+\.)+[a-z]{2,6}/[\w./#%~-]*\w)"
)
_LOCAL = re.compile(r"\.(?:py|md|ya?ml|csv|jsonl?|txt)$")


def time_of(seconds: float) -> str:
    """Seconds as a person would say them: "40 s", "6 min", "2.5 h", "3 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 9.95 or not seconds else f"{seconds:.2g} s"
    for most, unit, name in ((90, 60, "min"), (48, 3600, "h")):
        if (value := seconds / unit) < most:
            return f"{value:.1f} {name}" if name == "h" else f"{value:.0f} {name}"
    return f"{seconds / 86400:,.0f} days"


def size_of(gb: float) -> str:
    """Memory: "60 MB", "0.4 GB", "24 GB"."""
    if gb < 0.1:
        return f"{gb * 1024:.0f} MB"
    return f"{gb:.0f} GB" if gb >= 9.95 else f"{gb:.1f} GB"


def energy_of(watt_hours: float) -> str:
    """Energy: "12 Wh", "1.4 kWh"."""
    if watt_hours >= 1000:
        return f"{watt_hours / 1000:.1f} kWh"
    return f"{watt_hours:.0f} Wh" if watt_hours >= 10 else f"{watt_hours:.2g} Wh"


def money_of(amount: float) -> str:
    """Money in the currency of the price list, never as nothing where it is a little."""
    return f"{amount:.2f}" if amount >= 0.005 or not amount else "below 0.01"


@dataclass(frozen=True)
class Share:
    """A part of a whole: its key, in words, its figure, and that in words."""

    key: str
    name: str
    figure: float
    told: str


def memory_shares(memory: Memory) -> tuple[Share, ...]:
    """What memory is for, the largest part first; the smallest ones are told together."""
    least = _SMALL * memory.total
    shares = [Share(key, PARTS[key], gb, size_of(gb)) for key, gb in memory.parts.items() if gb >= least]
    if (rest := memory.total - sum(share.figure for share in shares)) > 1e-9:
        shares.append(Share("rest", "the rest", rest, size_of(rest)))
    return tuple(shares)


def time_shares(seconds: Seconds) -> tuple[Share, ...]:
    """What the time goes into, in the order in which it does."""
    return tuple(Share(key, PHASES[key], value, time_of(value)) for key, value in seconds if value > 0)


def fitting(fits: Sequence[Fit]) -> tuple[tuple[int, bool, str], ...]:
    """For each common size of a card whether the training fits on it, and what it would need; nothing is guessed: sizes
    of which the list has no machine are left out."""
    found = []
    for size in CARDS:
        near = [fit for fit in fits if abs(fit.memory_gb - size) <= size * 0.06]
        if near:
            best = min(near, key=lambda fit: fit.needed_gb)
            told = f"{best.machine}: needs {size_of(best.needed_gb)} of {size_of(best.memory_gb)}"
            found.append((size, best.fits, told))
    return tuple(found)


def reasons(advice: Advice, option: Option) -> tuple[Reason, ...]:
    """Why an option stands where it does. What trials say of the advised one is told as the evidence already."""
    told = advice.evidence and option is advice.best
    return tuple(reason for reason in option.reasons if not (told and reason.rule == RULE))


def how_sure(advice: Advice) -> str:
    """What the advice rests on; empty where it is a plain fact that there is nothing to learn from."""
    if advice.evidence or advice.best.kind == "data":
        return advice.evidence
    return "By rules and what is known of such tasks; nothing was tried on your rows yet."


def how_sure_of(estimate: TrainingEstimate) -> str:
    """What the figures of time and memory rest on."""
    if not estimate.corrected_by:
        return "Estimated; no run on this machine has corrected these figures yet."
    runs = f"{estimate.corrected_by} earlier run{'s' * (estimate.corrected_by != 1)}"
    if estimate.spread is None:
        return f"Estimated, and corrected by {runs}."
    return f"Estimated, and corrected by {runs}; such figures were typically off by {estimate.spread - 1:.0%}."


def takes(estimate: TrainingEstimate) -> Iterator[tuple[str, str]]:
    """What a training takes as caption and figure; energy and money only where they are known."""
    yield "time from start to report", time_of(estimate.seconds.total)
    yield "memory at most", size_of(estimate.memory.total)
    if estimate.watt_hours is not None:
        yield "electricity", energy_of(estimate.watt_hours)
    if estimate.money is not None:
        yield "money", money_of(estimate.money)


def serves(estimate: ServingEstimate) -> Iterator[tuple[str, str]]:
    """What answering takes as caption and figure."""
    yield "one answer", time_of(estimate.seconds_per_answer)
    yield "answers a minute at most", f"{estimate.answers_per_minute:,.0f}"
    yield "memory while it answers", size_of(estimate.memory.total)
    if estimate.watt_hours is not None:
        yield "electricity for 1,000", energy_of(estimate.watt_hours)
    if estimate.money is not None:
        yield "money for 1,000", money_of(estimate.money)


def short_cost(option: Option) -> str:
    """What an option costs in a few words: time and memory of its training, else the beginning of what is said."""
    if training := option.training:
        if training.seconds.training:
            return f"{time_of(training.seconds.total)}, {size_of(training.memory.total)}"
        return "no training"
    return option.cost.partition(";")[0]


def measured(option: Option) -> str:
    """What trials found of an option; empty where it was not tried."""
    found = option.measured
    if found is None:
        return ""
    how = "measured with all rows" if found.tried_in_full else "expected with all rows, from tries on some"
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%}), {how}"


def change_of(conflict: Conflict) -> str:
    """The change of the task that a conflict offers, in words; empty where it offers none."""
    return ", ".join(f"{name_of(field)}: {_value(value, field)}" for field, value in conflict.change.items())


def _value(value: object, field: str) -> str:
    return (
        "left open"
        if value in (None, "", (), [])
        else value_of(tuple(value) if isinstance(value, list) else value, field)
    )


def same_training(first: TrainingPlan | None, second: TrainingPlan | None) -> bool:
    """Whether two plans come to the same result, whatever they are called and however that is examined."""
    return first is not None and second is not None and _essence(first) == _essence(second)


def _essence(plan: TrainingPlan) -> tuple[object, ...]:
    rows = (plan.data.max_train_rows, plan.data.general_rows)
    return plan.base_model, plan.prompt.id, plan.strategy, plan.objective, plan.training, plan.parent, rows


def address_of(source: str) -> tuple[str, str]:
    """The words of a source that name an address, and that address; both empty where it names none."""
    for match in _ADDRESS.finditer(source):
        if match["arxiv"]:
            return match.group(), f"https://arxiv.org/abs/{match['arxiv']}"
        if not _LOCAL.search(match["site"]):
            return match.group(), f"https://{match['site']}"
    return "", ""
