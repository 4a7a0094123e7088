"""The advice as the chat says it: the first choice, why, how sure that is, what would change it, and what to do next.

Owns this wording and the buttons under it. Refuses to rank (`advice`).
"""

from __future__ import annotations

from assistant.advice.records import Advice, Conflict, Kind
from assistant.advice_words import change_of, how_sure
from assistant.dialogue import wording
from assistant.dialogue.wording import Answer

_WARNING = "⚠️"
TRY = "Try the options"
_MOST_REASONS, _MOST_CHANGES = 5, 3
_START = ("Start training",)
_NEXT: dict[Kind, tuple[str, ...]] = {
    "data": (wording.SAMPLE,),
    "prompt": ("Improve the prompt", "Compare side by side"),
    "few_shot": ("Add examples", "Measure the prompt"),
}
# Which of these are done elsewhere than by Start, so that the chat only tells of them.
_ELSEWHERE: frozenset[Kind] = frozenset({"retrieval", "smaller", "larger"})


def told_advice(advice: Advice, *, tried: bool) -> Answer:
    """What is advised, in a message; `tried` where there were trials already, so that none are offered."""
    best = advice.best
    cost = f" ({best.cost})" if best.cost else ""
    reasons = "\n".join(f"- {reason.text}" for reason in best.reasons[:_MOST_REASONS])
    changes = "".join(f"\n- {change}" for change in best.changes[:_MOST_CHANGES])
    parts = [
        *(_told_conflict(conflict) for conflict in advice.conflicts),
        f"My advice: **{best.title}**{cost}.\n{reasons}",
        f"What would change it:{changes}" if changes else "",
        how_sure(advice) if best.kind != "data" else "",
        "All options are in **Strategy**.",
    ]
    return "\n\n".join(part for part in parts if part), _buttons(best.kind, tried=tried, ready=best.plan is not None)


def _told_conflict(conflict: Conflict) -> str:
    change = change_of(conflict)
    return f"{_WARNING} {conflict.told} {conflict.nearest}" + (f" (That would be {change}.)" if change else "")


def _buttons(kind: Kind, *, tried: bool, ready: bool) -> tuple[str, ...]:
    if kind == "data":
        return _NEXT[kind]
    begin = _NEXT.get(kind, () if kind in _ELSEWHERE or not ready else _START)
    return begin if tried else (*begin, TRY)
