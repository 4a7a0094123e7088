"""The verdict: one headline over all that was found, and the reasons for it.

Owns how gates add up. Refuses to measure. The task comes first: what got worse at it is not saved by the rest, and what
got better at it is not called good where something else broke.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prompts.metrics import Comparison
from trainers.evaluation.records import Gate, Level, Part, Verdict

_MOST_REASONS = 6


class _Worst(NamedTuple):
    failed: list[Gate]
    warnings: list[Gate]
    unknown: list[Gate]


def verdict(change: Comparison, gates: Sequence[Gate], parts: Sequence[Part]) -> Verdict:
    """What the tuned model is worth: `change` is tuned against base, `gates` those of quality."""
    of_parts = [gate for part in parts for gate in part.gates]
    found = _sorted([*gates, *of_parts])
    level, headline = _headline(change, _sorted(gates), _sorted(of_parts))
    reasons = [change.told[0].upper() + change.told[1:] + "."]
    reasons += [f"{gate.name.capitalize()}: {gate.told}" for gate in (*found.failed, *found.warnings)]
    if found.unknown:
        names = ", ".join(dict.fromkeys(gate.name for gate in found.unknown))
        reasons.append(f"Not known: {names}.")
    return Verdict(level=level, headline=headline, reasons=tuple(reasons[:_MOST_REASONS]))


def _sorted(gates: Sequence[Gate]) -> _Worst:
    """By level, without the question that the headline answers itself."""
    rest = [gate for gate in gates if gate.name != "better than the base"]
    return _Worst(*([gate for gate in rest if gate.level == level] for level in ("failed", "warning", "unknown")))


def _headline(change: Comparison, quality: _Worst, parts: _Worst) -> tuple[Level, str]:
    if change.verdict == "worse":
        return "failed", "It got worse. Do not use it."
    broken = ", ".join(dict.fromkeys(gate.name for gate in (*quality.failed, *parts.failed)))
    if change.verdict == "cannot tell":
        return ("failed", f"No gain that can be told from chance, and it failed on: {broken}.") if broken else (
            "warning", "Cannot tell: the difference may be chance."
        )  # fmt: skip
    if broken:
        return "failed", f"It got better at the task, but failed on: {broken}."
    if any(gate.name == "better than a prompt alone" for gate in quality.warnings):
        return "warning", "It got better than the base, but a prompt alone may do as well."
    doubts = ", ".join(dict.fromkeys(gate.name for gate in (*quality.warnings, *parts.warnings)))
    if doubts:
        return "warning", f"It got better, with reservations: {doubts}."
    return "passed", "Yes, it really got better."
