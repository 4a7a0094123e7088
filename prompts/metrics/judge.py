"""A language model as judge: what it is asked, how its verdict is read, and how far it agrees with a person.

Owns the rubric (`judge.yaml`), the reading of a verdict, and agreement. Refuses to know who judges. A judge is no
metric among the others: it is only asked where somebody configured an endpoint, and its word is worth what it agrees
with the person's own (Zheng et al. 2023 on the biases of such judges).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict

from prompts.chat_model import Message
from prompts.spec import TaskSpec

GRADES = (1, 2, 3, 4, 5)
_FEWEST = 5  # ratings below which agreement is chance
_DRAWS, _SEED = 1000, 0


class Agreement(BaseModel):
    """How far judge and person agree on the answers that both graded.

    `kappa` is Cohen's with quadratic weights (1968), 0 where agreement is what chance gives, with a 95 % interval; None
    where there are too few ratings, or all are the same. `equal` is the share of equal grades.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    equal: float
    kappa: float | None
    low: float | None = None
    high: float | None = None

    @property
    def told(self) -> str:
        """In one sentence."""
        if self.kappa is None or self.low is None or self.high is None:
            return f"You rated {self.n} of its answers; {_FEWEST} or more, not all alike, tell how far you two agree."
        return f"On {self.n} answers that you rated too: kappa {self.kappa:.2f} ({self.low:.2f} to {self.high:.2f})."


def judge_messages(spec: TaskSpec, input: str, expected: str, answer: str) -> list[Message]:
    """What the judge is asked of one answer."""
    environment = SandboxedEnvironment(undefined=StrictUndefined)
    facts = {**spec.model_dump(), "given": input, "expected": expected, "answer": answer}
    rubric = _rubric()
    filled = {role: environment.from_string(rubric[role]).render(**facts).strip() for role in ("system", "user")}
    return [Message(role="system", content=filled["system"]), Message(role="user", content=filled["user"])]


@cache
def _rubric() -> dict[str, str]:
    return dict(yaml.safe_load(files(__package__).joinpath("judge.yaml").read_text("utf-8")))


def read_grade(reply: str) -> int | None:
    """The grade that a reply ends with, or None where it gives none."""
    found = re.findall(r"(?:grade|score|rating)\W{0,12}([1-5])(?![\d.])", reply, re.IGNORECASE)
    alone = re.fullmatch(r"\W*([1-5])(?:\s*/\s*5)?\W*", reply)
    return int(alone.group(1)) if alone else int(found[-1]) if found else None


def agreement(judge: Sequence[int], person: Sequence[int]) -> Agreement:
    """Agreement of two lists of grades on the same answers. Raises ValueError where they differ in length."""
    if len(judge) != len(person):
        raise ValueError("both must have graded the same answers")
    n = len(judge)
    equal = sum(a == b for a, b in zip(judge, person, strict=True)) / n if n else 0.0
    kappa = _kappa(judge, person) if n >= _FEWEST else None
    if kappa is None:
        return Agreement(n=n, equal=equal, kappa=None)
    low, high = _interval(judge, person)
    return Agreement(n=n, equal=equal, kappa=kappa, low=min(low, kappa), high=max(high, kappa))


def _kappa(judge: Sequence[int], person: Sequence[int]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    if len({*judge, *person}) < 2:  # chance alone would agree as well
        return None
    value: Any = cohen_kappa_score(judge, person, labels=list(GRADES), weights="quadratic")
    return float(value)


def _interval(judge: Sequence[int], person: Sequence[int]) -> tuple[float, float]:
    import numpy as np

    rng, n = np.random.default_rng(_SEED), len(judge)
    one, other = np.asarray(judge), np.asarray(person)
    drawn = (rng.integers(n, size=n) for _ in range(_DRAWS))
    kappas = [kappa for rows in drawn if (kappa := _kappa(one[rows].tolist(), other[rows].tolist())) is not None]
    low, high = np.quantile(kappas, [0.025, 0.975])
    return float(low), float(high)
