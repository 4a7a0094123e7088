"""What was asked and answered in one request that passed the gateway, for whoever wants to hear of it.

Owns putting the answer together from what passes by. Refuses to hold anything up or to change it, and to keep it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_CUT_OFF = "cut off before its end"


@dataclass(frozen=True)
class Exchange:
    """One request, answered or not. `messages` is the chat as the program sent it, whatever that is.

    `time` is when it ended, in UTC. `error` says what went wrong, also that the answer was cut off; `text` is then what
    came before.
    """

    messages: object
    text: str
    time: datetime
    seconds: float
    error: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


Listener = Callable[[Exchange], None]


class Heard:
    """Follows one answer; of several choices the first. Without a listener it does nothing."""

    def __init__(self, listener: Listener | None, messages: object) -> None:
        self._listener, self._messages = listener, messages
        self._begun = time.monotonic()
        self._text: list[str] = []
        self._whole = False
        self._error = ""
        self._usage: dict[str, Any] = {}

    def line(self, line: str) -> None:
        """A line of a stream of events."""
        if self._listener is None or not line.startswith("data:"):
            return
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            self._whole = True
        else:
            self.body(data)

    def body(self, text: str) -> None:
        """A record of the protocol: a whole answer, a piece of one, or an error."""
        if self._listener is None:
            return
        try:
            record = json.loads(text)
        except ValueError:
            return
        if not isinstance(record, dict):
            return
        self._usage = _dict(record.get("usage")) or self._usage
        if said := record.get("error") or (record.get("message") if record.get("object") == "error" else None):
            self.failed(str(_dict(said).get("message") or said))
        choices = record.get("choices")
        choice = _dict(choices[0]) if isinstance(choices, list) and choices else {}
        if choice.get("index", 0) != 0:
            return
        for part in (_dict(choice.get("delta")), _dict(choice.get("message"))):
            if isinstance(part.get("content"), str):
                self._text.append(part["content"])
        self._whole = self._whole or bool(choice.get("finish_reason"))

    def failed(self, error: str) -> None:
        self._error = self._error or error or "it failed"

    def ended(self) -> None:
        """Tell the listener, once; what has no end by now was cut off."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        counts = (self._usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
        read, written = (count if isinstance(count, int) else None for count in counts)
        listener(
            Exchange(
                messages=self._messages,
                text="".join(self._text),
                time=datetime.now(UTC),
                seconds=time.monotonic() - self._begun,
                error=self._error or ("" if self._whole else _CUT_OFF),
                prompt_tokens=read,
                completion_tokens=written,
            )
        )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
