"""What a check tells: which rows, how bad it is, what a training would make of it, what would mend it.

Owns the shape of findings. Refuses to look for them and to apply their fixes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

_T = TypeVar("_T")
Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the worst first


class Fix(BaseModel):
    """A suggested change to a finding's rows, and what it would do in words. `edits` carries it out."""

    model_config = ConfigDict(frozen=True)

    action: Literal["drop_rows", "mask", "clean"]
    words: str


class Finding(BaseModel):
    """One thing worth knowing. `rows` count from 1 below the header; `examples` are lines fit to be shown."""

    model_config = ConfigDict(frozen=True)

    check: str
    severity: Severity
    text: str
    rows: tuple[int, ...] = ()
    effect: str = ""
    examples: tuple[str, ...] = ()
    fix: Fix | None = None
    sampled: bool = False


def gravity(finding: Finding) -> int:
    """The worst first, to sort by."""
    return SEVERITIES.index(finding.severity)


def some(items: Sequence[_T], most: int, show: Callable[[_T], str] = str) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(map(show, items[:most])) + more


def counted(rows: Sequence[object], noun: str = "row") -> str:
    """ "1 row", "12 rows"."""
    return f"{len(rows):,} {noun}{'' if len(rows) == 1 else 's'}"
