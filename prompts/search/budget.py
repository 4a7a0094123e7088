"""How many answers and how many seconds a search may take. Owns the count; refuses to decide what they are spent on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Budget:
    """At most so many answers and so many seconds, whichever ends first; None is without a limit."""

    calls: int | None = None
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    spent: int = field(default=0, init=False)
    _begun: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    @property
    def elapsed(self) -> float:
        return self.clock() - self._begun

    @property
    def used(self) -> float:
        """The share that is gone, in [0, 1]."""
        shares = [self.spent / self.calls] if self.calls else []
        shares += [self.elapsed / self.seconds] if self.seconds else []
        return min(1.0, max(shares, default=0.0))

    def affords(self, calls: int, seconds: float, keep: float = 0.0) -> bool:
        """Whether so much can be spent with the share `keep` of the whole left over."""
        by_calls = self.calls is None or self.spent + calls <= self.calls * (1 - keep)
        return by_calls and (self.seconds is None or self.elapsed + seconds <= self.seconds * (1 - keep))

    def rows(self, seconds_each: float, calls_each: int) -> int:
        """How many rows can be paid for where each takes so long and so many calls."""
        left = [(self.calls - self.spent) // max(1, calls_each)] if self.calls is not None else []
        if self.seconds is not None:
            left.append(int(max(0.0, self.seconds - self.elapsed) / max(seconds_each, 1e-9)))
        return max(0, min(left, default=sys.maxsize))
