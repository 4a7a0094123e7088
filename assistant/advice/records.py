"""The advice as data: options in order, each with reasons, sources, what would change it, what it takes, and a plan.

Owns the fields; refuses to rank.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from trainers.estimating.records import Fit, ServingEstimate, TrainingEstimate
from trainers.plan import TrainingPlan
from trainers.trials.records import Promise

Kind = Literal[
    "data",
    "prompt",
    "few_shot",
    "retrieval",
    "prompt_tuning",
    "lora",
    "meta_lora",
    "full",
    "preference",
    "smaller",
    "larger",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
Standing = Literal["advised", "good", "possible", "not now", "impossible"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Record):
    """A sentence that names the facts it rests on. `rule` is the rule's id, `source` a paper, docs, or our own
    measurement; empty where it is a plain fact of the data."""

    text: str
    rule: str = ""
    source: str = ""


class Option(_Record):
    """One thing to do. `changes` say what would change its standing; `plan` is there where it can be started.

    `cost` is one line for a card. `measured` is what trials promise of it, where it was tried.
    """

    kind: Kind
    title: str
    standing: Standing
    reasons: tuple[Reason, ...]
    changes: tuple[str, ...] = ()
    cost: str = ""
    training: TrainingEstimate | None = None
    serving: ServingEstimate | None = None
    fits: tuple[Fit, ...] = ()
    plan: TrainingPlan | None = None
    measured: Promise | None = None

    @property
    def advised(self) -> bool:
        return self.standing == "advised"


class Conflict(_Record):
    """Wishes that cannot be kept together: what and why, the nearest that works, and the change of the spec for it."""

    told: str
    nearest: str
    change: dict[str, Any] = {}


class Advice(_Record):
    """All options, the advised one first, the others by standing. `facts` are what the rules saw, for the person;
    `evidence` is the sentence of the trials that decided, empty where rules alone did."""

    options: tuple[Option, ...]
    conflicts: tuple[Conflict, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    evidence: str = ""

    @property
    def best(self) -> Option:
        return self.options[0]

    def of(self, kind: Kind) -> Option | None:
        """The first option of a kind."""
        return next((option for option in self.options if option.kind == kind), None)
