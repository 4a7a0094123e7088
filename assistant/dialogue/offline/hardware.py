"""The computing hardware that a person names: which device it is, and how much memory its name stands for.

Owns cards and their memory. Refuses to read memory from a number of its own (`amounts`).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from assistant.dialogue.offline.text import lexicon, pattern

_STATED = re.compile(r"[ -]?\(?(\d{2,3}) ?(?:gb|go|g)\b")


def hardware(folded: str) -> dict[str, Any]:
    """The device and, where a card's name decides it, its memory. What is named last counts."""
    without = _last(pattern("no_gpu"), folded)
    found = max((without, {"device": "cpu"}), _apple(folded), _card(folded), _any_gpu(folded), key=lambda item: item[0])
    return found[1] if found[0] >= 0 else {}


def speaks_of_gpu(folded: str) -> bool:
    return bool(pattern("gpu").search(folded)) or _card(folded)[0] >= 0


def _last(expression: re.Pattern[str], folded: str) -> int:
    """Where the last match ends, or -1."""
    return max((match.end() for match in expression.finditer(folded)), default=-1)


def _apple(folded: str) -> tuple[int, dict[str, Any]]:
    return _last(pattern("mps"), folded), {"device": "mps"}


def _any_gpu(folded: str) -> tuple[int, dict[str, Any]]:
    """A graphics card without a name; one that somebody says he lacks is none."""
    lacking = pattern("no_gpu").sub(lambda found: " " * len(found.group()), folded)
    # A named card says more, wherever it stands.
    return (0 if _last(pattern("gpu"), lacking) >= 0 else -1), {"device": "cuda"}


def _card(folded: str) -> tuple[int, dict[str, Any]]:
    best: tuple[int, dict[str, Any]] = (-1, {})
    for expression, memory in _cards():
        for match in expression.finditer(folded):
            if match.end() > best[0]:
                stated = _STATED.match(folded[match.end() :])
                known = float(stated.group(1)) if stated else memory
                best = match.end(), {"device": "cuda"} | ({"gpu_memory_gb": known} if known else {})
    return best


@cache
def _cards() -> list[tuple[re.Pattern[str], float | None]]:
    """A pattern for the names of cards, and their memory where the name decides it."""
    entries = [*lexicon()["cards"].items(), (lexicon()["card_only"], None)]
    return [
        (re.compile(rf"(?<![\w/-])(?:nvidia )?(?:{names})(?![\w/])(?! is gone)"), float(memory) if memory else None)
        for names, memory in entries
    ]
