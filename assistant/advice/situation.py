"""All that advice rests on, in one record. Owns its fields; refuses to derive anything from them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from assistant.project import Project, StoredPrompt
from prompts.metrics import Score
from trainers.energy import NOTHING_SAID, Rates
from trainers.estimating.history import NO_HISTORY, History
from trainers.hardware import Compute, Hardware
from trainers.models import LocalModel
from trainers.profile import DatasetProfile
from trainers.splits import Splits
from trainers.trials.records import Candidate, Decision


class Situation(BaseModel):
    """A project with its data, the machine and what was measured so far.

    `score` is the current prompt's on the dev rows, `measured` are all versions measured on these. `candidates` and
    `decision` are there where trials ran on these data and this base. `parent` is a run whose result a training on
    preferences can begin from. `bases` are base models that are on this machine beside `base`; `wanted` is the one that
    the person named, where it is not here yet and `base` stands in for it.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    project: Project
    machine: Hardware
    compute: Compute
    base: LocalModel
    profile: DatasetProfile | None = None
    splits: Splits | None = None
    score: Score | None = None
    measured: tuple[StoredPrompt, ...] = ()
    rates: Rates = NOTHING_SAID
    history: History = NO_HISTORY
    candidates: tuple[Candidate, ...] = ()
    decision: Decision | None = None
    parent: Path | None = None
    bases: tuple[LocalModel, ...] = ()
    wanted: str = ""
