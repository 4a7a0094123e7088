"""The verdict: one headline over all that was found, and the reasons for it.

Owns how gates add up. Refuses to measure. The task comes first: what got worse at it is not saved by the rest, and what
got better at it is not called good where something else broke.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prompts.metrics import Comparison
from trainers.evaluation.records import Gate, Group, Level, Part, Verdict

_MOST_REASONS = 6
_LEVELS: tuple[Level, ...] = ("failed", "warning", "unknown")

# What a failure of a group means, after "it".
_FAILURES: dict[Group, str] = {
    "quality": "fails on its own task",
    "overfitting": "learned its rows rather than the task",
    "transfer": "forgot what the base could do",
    "bias": "learned to treat people differently",
    "demands": "does not do what you demanded",
}


class _Found(NamedTuple):
    """A gate that answers another question than the headline does, and the group it belongs to."""

    group: Group
    gate: Gate


def verdict(change: Comparison, gates: Sequence[Gate], parts: Sequence[Part], *, beside_base: bool = False) -> Verdict:
    """What the tuned model is worth: `change` is tuned against base, `gates` those of quality.

    `beside_base` says that the result is served beside an unchanged base: what it forgot, that can still do, so that it
    asks for care and is no failure.
    """
    found = [_Found("quality", gate) for gate in gates if gate.name != "better than the base"]
    found += [_Found(part.group, gate) for part in parts for gate in part.gates]
    failed, warnings, unknown = ([one for one in found if one.gate.level == level] for level in _LEVELS)
    level, headline = _headline(change, failed, warnings)
    forgot = {one.group for one in failed} == {"transfer"} and change.verdict == "better"
    if forgot and beside_base:
        level, headline = "warning", "It got better at the task, but forgot the rest: ask it nothing else."
    reasons = [change.told[0].upper() + change.told[1:] + "."]
    reasons += [f"{_capital(one.gate.name)}: {one.gate.told}" for one in (*failed, *warnings)]
    if unknown:
        reasons.append(f"Not known: {', '.join(dict.fromkeys(one.gate.name for one in unknown))}.")
    return Verdict(level=level, headline=headline, reasons=tuple(reasons[:_MOST_REASONS]))


def _headline(change: Comparison, failed: Sequence[_Found], warnings: Sequence[_Found]) -> tuple[Level, str]:
    if change.verdict == "worse":
        return "failed", "It got worse. Do not use it."
    broken = " and ".join(dict.fromkeys(_FAILURES[one.group] for one in failed))
    if change.verdict == "cannot tell":
        if broken:
            return "failed", f"It cannot be told from chance that it got better, and it {broken}."
        return "warning", "Cannot tell: the difference may be chance."
    if broken:
        return "failed", f"It got better at the task, but {broken}."
    doubts = list(dict.fromkeys(one.gate.name for one in warnings))
    if "better than a prompt alone" in doubts:
        return "warning", "It got better than the base, but a prompt alone may do as well."
    if doubts:
        return "warning", f"It got better, with reservations: {', '.join(doubts)}."
    return "passed", "Yes, it really got better."


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
