"""The records of the arena: what each side was and said, and how a person judged it.

Owns the records and reading those that earlier versions wrote. Refuses to store, count or collect them.
"""

from __future__ import annotations

import uuid
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from prompts.chat_model import Message, Sampling

Verdict = Literal["left", "right", "tie", "both bad"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ME = "local"  # who votes, where nobody gave a name


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArmAnswer(_Record):
    """What one side of a comparison was and said, with all that it takes to ask it again.

    `model` and `parent` are the names that the server gave, `digest` is of the adapter's or the model's files, empty
    for the base; `messages` is the chat as it was sent. Times in seconds from the sending.
    """

    title: str = ""
    model: str
    parent: str = ""
    digest: str = ""
    prompt_id: str
    messages: tuple[Message, ...] = ()
    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    first_token: float | None = None
    seconds: float = 0.0

    @property
    def arm(self) -> str:
        """What answered, whatever it was called: the weights, or a base model's name, and the prompt."""
        return f"{self.digest or self.model}|{self.prompt_id}"


class Vote(_Record):
    """A judgement on two answers to one message, the left one first as they stood on the screen.

    `round` is the pair that was judged: one voter judges it once. `edited` is what the person would rather have read.
    `flagged` names the sides, "left" or "right", whose answer gave away which model it was. `typed` tells whether the
    message came from the person, and not from the rows kept for the arena.
    """

    id: str = Field(default_factory=lambda: uuid.uuid4().hex[:12])
    round: str = Field(default_factory=lambda: uuid.uuid4().hex[:12])
    message: str
    answers: tuple[ArmAnswer, ...]
    verdict: Verdict = "tie"
    blind: bool = False
    voter: str = ME
    reason: str = ""
    edited: str = ""
    flagged: tuple[Literal["left", "right"], ...] = ()
    typed: bool = True
    sampling: Sampling = Sampling()
    engine: str = ""
    created: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, raw: Any) -> Any:
        """Once there was only `choice`: an index into `answers`, or None for a tie."""
        if not isinstance(raw, dict) or "choice" not in raw:
            return raw
        rest = {key: value for key, value in raw.items() if key != "choice"}
        return {**rest, "verdict": {0: "left", 1: "right"}.get(raw["choice"], "tie")}

    @field_validator("voter")
    @classmethod
    def _named(cls, voter: str) -> str:
        return " ".join(voter.split())[:40] or ME

    @property
    def winner(self) -> ArmAnswer | None:
        """The better side; None where neither is."""
        return self.answers[self._won] if self._won is not None else None

    @property
    def loser(self) -> ArmAnswer | None:
        return self.answers[1 - self._won] if self._won is not None else None

    @property
    def _won(self) -> int | None:
        return {"left": 0, "right": 1}.get(self.verdict) if len(self.answers) == 2 else None
