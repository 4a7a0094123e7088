"""What a check tells: which rows, how bad it is, what a training would make of it, what would mend it.

Owns the shape of findings. Refuses to look for them and to apply their fixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

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


def counted(rows: Sequence[int], noun: str = "row") -> str:
    """ "1 row", "12 rows"."""
    return f"{len(rows):,} {noun}{'' if len(rows) == 1 else 's'}"
