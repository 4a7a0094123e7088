"""What a number in a message is a number of: memory, minutes, latency, a score; examples are read by `counts`.

Owns the roles of numbers with a unit. Refuses to read the number itself (`numbers`) and to know cards (`hardware`).
"""

from __future__ import annotations

import re
from typing import Any

from assistant.dialogue.offline.counts import examples_in
from assistant.dialogue.offline.hardware import hardware, speaks_of_gpu
from assistant.dialogue.offline.numbers import Number, numbers
from assistant.dialogue.offline.text import Language, fold, pattern
from prompts.spec import TaskSpec

_NEAR = 45
_MOST = 60  # numbers; a text with more of them is data
_CARDS = frozenset({3060, 3070, 3080, 3090, 4060, 4070, 4080, 4090, 5070, 5080, 5090})
# From a minute on a duration is a training's, unless an answer is spoken of and it is less than ten.
_MINUTE, _LONGEST_ANSWER = 60, 600


def amounts(text: str, language: Language, spec: TaskSpec, *, correcting: bool) -> dict[str, Any]:
    """The facts that the numbers of a statement tell."""
    found = [number for number in numbers(text, language)[:_MOST] if not _in_reference(number)]
    facts: dict[str, Any] = hardware(fold(text))
    facts |= _memory(found, facts)
    facts |= _durations(found, changes_budget=correcting and spec.time_budget_minutes is not None)
    facts |= _target(found)
    if facts.get("device") in ("cpu", "mps") and spec.gpu_memory_gb:
        facts["gpu_memory_gb"] = None
    if (count := examples_in(found, spec.examples, correcting=correcting)) is not None:
        facts["examples"] = count
    return facts


def _in_reference(number: Number) -> bool:
    """Whether the number belongs to a name: a model's id, a version, a card."""
    in_name = re.search(r"[\w/]-$|[a-z]/$|\bv$", number.before) and not re.search(r"[a-z]{4,}-$", number.before)
    is_card = re.match(r"\W|$", number.after) and number.value in _CARDS and not re.match(r" [a-z]{4,}", number.after)
    return bool(in_name or is_card) or bool(re.match(r"-?[a-z]+-(?!\w*(?:note|item|row|case))|b\b", number.after))


def _memory(found: list[Number], known: dict[str, Any]) -> dict[str, Any]:
    for number in found:
        unit = pattern("memory_unit").match(number.after)
        if not unit or pattern("no_memory").search(number.after[: unit.end() + 25]):
            continue
        # "24 GB" is the card's where a card is spoken of nearby.
        near = number.before[-_NEAR:] + "#" + number.after[:_NEAR]
        if speaks_of_gpu(near) and known.get("device") not in ("cpu", "mps"):
            return {"gpu_memory_gb": number.value, "device": "cuda"}
    return {}


# Durations


def _durations(found: list[Number], *, changes_budget: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for number in found:
        unit = pattern("duration_unit").match(number.after)
        if not unit:
            continue
        seconds = number.value * _unit_seconds(unit.group(1))
        if seconds >= _MINUTE and _not_ours(number, number.after[unit.end() :]):
            continue
        limit = _duration(seconds, _clause(number), unit.group(0).strip())
        facts |= limit or ({"time_budget_minutes": seconds / 60} if changes_budget and seconds >= _MINUTE else {})
    return facts


def _duration(seconds: float, clause: str, unit: str) -> dict[str, Any]:
    """What a duration limits, by its length and the words around it."""
    trains = bool(pattern("training").search(clause))
    if pattern("too_long").search(clause):
        return {}
    if not trains and (seconds < _MINUTE or (seconds < _LONGEST_ANSWER and pattern("latency").search(clause))):
        return {"max_latency_ms": round(seconds * 1000)}
    alone = re.fullmatch(r"\W*(?:in|within|en|dans|about|etwa|max\.?)?\W*#\W*", clause.replace(unit, ""))
    if seconds >= _MINUTE and (trains or alone or pattern("budget_cue").search(clause)):
        return {"time_budget_minutes": seconds / 60}
    return {}


def _clause(number: Number) -> str:
    """The words around a number up to where the clause ends."""
    before = re.split(r"[.;!?\n]|, ", number.before[-80:])[-1]
    after = re.split(r"[.;!?\n](?!\d)|, ", number.after[:80])[0]
    return f"{before}#{after}"


def _unit_seconds(unit: str) -> float:
    if unit in ("ms", "msec") or unit.startswith("mil"):
        return 0.001
    if unit.startswith("min"):
        return 60
    if unit.startswith(("h", "std", "stu")):
        return 3600
    return 86_400 if unit.startswith(("d", "j", "t")) else 1


def _not_ours(number: Number, after_unit: str) -> bool:
    return bool(pattern("no_budget").match(after_unit) or pattern("no_budget_before").search(number.before[-40:]))


# Scores


def _target(found: list[Number]) -> dict[str, Any]:
    for number in found:
        percent = pattern("percent").match(number.after)
        value = number.value / 100 if percent else number.value
        share = not percent and 0 < value < 1 and not pattern("duration_unit").match(number.after)
        if not (percent or share) or not 0 < value <= 1 or pattern("no_target").match(number.after):
            continue
        if pattern("target_cue").search(number.before[-_NEAR:] + "#" + number.after[:_NEAR]):
            return {"target_score": round(value, 6)}
    return {}
