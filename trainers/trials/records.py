"""What trials are asked and what they find: typed records, each a file in the trials' folder.

Owns their fields. Never imports torch. Refuses to decide anything.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from prompts.versions import PromptVersion
from trainers.plan import TrainingPlan
from trainers.ray_cluster import Cluster
from trainers.status import State


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Candidate(_Record):
    """One option: `plan` is what would be run in full, on all training rows.

    `price` orders candidates that cannot be told apart, the cheapest first: what it costs to have and to keep it, in
    the estimated seconds of its full training and of a thousand answers. A candidate with `wordings` searches the best
    of these prompts (its own among them) on each portion.
    """

    key: str
    title: str
    plan: TrainingPlan
    price: float = Field(ge=0)
    wordings: tuple[PromptVersion, ...] = ()

    @property
    def trains(self) -> bool:
        return self.plan.strategy.trains


class TrialOrder(_Record):
    """What is to be tried, and within which limits. All plans share base model, data and split seed.

    Of the candidates that train, those come first that most probably win: a budget may end before the others.
    `expected` is the key of what is advised without trials, empty where that is none of them. `device` is empty for
    what the machine does best; `cluster` has the trials go on there, several at once.
    """

    candidates: tuple[Candidate, ...]
    expected: str = ""
    budget_minutes: float = Field(gt=0)
    seed: int = 0
    device: Literal["", "cpu", "cuda"] = ""
    cluster: Cluster | None = None


class Try(_Record):
    """One candidate on one portion of the training rows, 0 to 1; `fold` tells which rows that are, where the data are
    so few that a portion is tried on several."""

    key: str
    portion: float = Field(gt=0, le=1)
    fold: int = 0


class Tried(_Record):
    """What came of a try. Scores are in [0, 1] by row number, for rows that this try did not learn from.

    `certainty` is the mean log-probability of a token of the right answer, in nats, where it was asked for: it tells
    candidates apart where the scores of few rows do not. `run` is the run that it can be opened as. `seconds` is all
    that it took, `score_seconds` of these the asking at the end; `losses` are the train loss of each epoch, in nats a
    token. A try that failed says why and has no scores.
    """

    tried: Try
    rows: int = Field(ge=0, description="Rows that it learned from, or showed as examples")
    scores: dict[int, float] = {}
    certainty: dict[int, float] = {}
    seconds: float = 0.0
    train_seconds: float = 0.0
    score_seconds: float = 0.0
    cpu_seconds: float = 0.0
    tokens: int = 0
    memory_gb: float = 0.0
    losses: tuple[float, ...] = ()
    run: str = ""
    prompt: PromptVersion | None = Field(None, description="The wording that was chosen, of several")
    failed: str = ""

    @property
    def score(self) -> float:
        """The mean over the rows."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else 0.0


class Promise(_Record):
    """What a candidate's curve promises on all training rows: a score with its 95 % interval, each in [0, 1].

    `tried_in_full` tells that nothing had to be extrapolated.
    """

    key: str
    value: float
    low: float
    high: float
    tried_in_full: bool = False


class Decision(_Record):
    """What the trials prove. `alike` are the candidates that cannot be told from the best, itself among them; the
    cheapest of these is `advised`. `told` are further sentences: of curves that still rise, of what did not pay."""

    advised: str
    best: str
    alike: tuple[str, ...]
    sentence: str
    told: tuple[str, ...] = ()
    promises: tuple[Promise, ...] = ()


class TrialsStatus(_Record):
    """Where the trials are. Seconds count what was spent on tries, over all starts."""

    state: State = "queued"
    message: str = ""
    hint: str = ""
    doing: Try | None = None
    fraction: float = Field(0.0, description="Of the budget, or of what is left to try where that is less")
    spent_seconds: float = 0.0
    seconds_left: float | None = None
    started: float = 0.0
    updated: float = 0.0
    out: dict[str, str] = Field({}, description="Candidates that can no longer win, each with the reason")
