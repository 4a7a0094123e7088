"""Where a reply's text ends before its model does: at the first of its stop texts.

Owns what may be said of a text that is still growing. Refuses to know tokens and models.
"""

from __future__ import annotations

from collections.abc import Sequence


class UpToStop:
    """A text that comes in pieces and ends before a stop text. What might be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.found = ""
        self._stops = [stop for stop in stops if stop]  # an empty one would end every reply before it begins
        self._held = ""

    def take(self, piece: str) -> str:
        """What can be said now that `piece` has come, "" where nothing can. `found` is set where the text has ended."""
        self._held += piece
        ends = [(self._held.index(stop) + len(stop), stop) for stop in self._stops if stop in self._held]
        if ends:  # of several, the one that was complete first, as in vLLM
            end, self.found = min(ends, key=lambda found: found[0])
            return self._say(end - len(self.found), dropped=len(self._held))
        return self._say(len(self._held) - self._open())

    def rest(self) -> str:
        """What was held back, where the reply ends without a stop text."""
        return self._say(len(self._held))

    def _open(self) -> int:
        """How many characters at the end may be the beginning of a stop text."""
        longest = max((min(len(stop) - 1, len(self._held)) for stop in self._stops), default=0)
        held = (n for n in range(longest, 0, -1) if any(stop.startswith(self._held[-n:]) for stop in self._stops))
        return next(held, 0)

    def _say(self, length: int, dropped: int = 0) -> str:
        said, self._held = self._held[:length], self._held[max(length, dropped) :]
        return said
