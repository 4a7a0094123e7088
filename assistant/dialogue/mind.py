"""What a mind is: something that reads one message and says what it means.

Owns the border: what a mind is given (`Context`) and what it returns (`Reading`). Refuses to know who reads: rules, a
small classifier or a language model look the same from here. A mind changes nothing; the conversation acts.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict

from assistant.project import Turn
from prompts.spec import TaskSpec
from prompts.versions import Demonstration

Act = Literal[
    "sample", "profile", "measure", "few_shot", "recommend", "train", "confirm", "cancel", "status", "report",
    "compare", "help", "why", "back", "restart", "skip", "improve", "critique", "accept", "dismiss", "versions",
    "restore", "measure_both", "choose", "keep", "resume", "votes", "round", "confirm_round",
    "examine", "findings", "export", "try", "confirm_try", "trials", "stop_trials", "resume_trials", "take_advised",
]  # fmt: skip
ACTS: tuple[Act, ...] = get_args(Act)
# What takes minutes of the machine or money: never done on a mind's word alone, always asked first.
COSTLY: frozenset[Act] = frozenset(
    {
        "measure", "measure_both", "train", "confirm", "improve", "resume", "round", "confirm_round", "examine", "try",
        "confirm_try", "resume_trials",
    }
)  # fmt: skip


class Context(BaseModel):
    """What a mind may know beside the message: the task so far, the open question, and the chat before."""

    model_config = ConfigDict(frozen=True)

    spec: TaskSpec = TaskSpec()
    asked: str | None = None  # the spec field that the last question was about
    stage: str = "Task"
    history: tuple[Turn, ...] = ()


class Reading(BaseModel):
    """What a message says. `said` came in so many words, `inferred` follows from them.

    `examples` are solved rows that stand in the message. `reply` is the mind's own wording, for minds that have one;
    `notice` is something about the mind itself that the person should be told once. `by_model`: a language model read
    it, whose word alone starts nothing that is costly.
    """

    model_config = ConfigDict(frozen=True)

    said: dict[str, Any] = {}
    inferred: dict[str, Any] = {}
    prompt: str | None = None
    act: Act | None = None
    examples: tuple[Demonstration, ...] = ()
    reply: str = ""
    notice: str = ""
    by_model: bool = False


class Mind(Protocol):
    """Reads a message. Raises `EngineError` where it cannot be reached or answers rubbish."""

    def read(self, text: str, context: Context) -> Reading: ...
