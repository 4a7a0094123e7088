"""What is estimated: typed figures with their parts. Owns the fields; refuses to compute them.

Memory in GB (2**30 bytes), time in seconds, energy in watt-hours, money in the currency of the price list.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from trainers.hardware import Dtype


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(_Record):
    """Where something is computed: this machine, or one of the list `machines.yaml`.

    `gflops` is the speed of a large matrix product in `dtype`, `gb_per_second` that of reading memory. `watts` and
    `per_hour` are None where nobody said.
    """

    name: str
    device: Literal["cpu", "cuda"]
    dtype: Dtype
    memory_gb: float
    gflops: float
    gb_per_second: float
    watts: float | None = None
    per_hour: float | None = None


class Memory(_Record):
    """The most that is held at once, by what it is for. `runtime` is Python and the libraries; on a GPU its context."""

    weights: float
    adapter: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    cache: float = 0.0
    runtime: float = 0.0

    @property
    def total(self) -> float:
        return float(sum(self.model_dump().values()))

    @property
    def parts(self) -> dict[str, float]:
        """What is not nothing, the largest first."""
        return dict(sorted(((k, v) for k, v in self.model_dump().items() if v > 0), key=lambda part: -part[1]))


class Seconds(_Record):
    """The time of a run by its phases; `checking` is the dev rows while it trains."""

    loading: float = 0.0
    training: float = 0.0
    checking: float = 0.0
    testing: float = 0.0
    examining: float = 0.0

    @property
    def total(self) -> float:
        return float(sum(self.model_dump().values()))


class TrainingEstimate(_Record):
    """What following a plan takes on one machine. `corrected_by` is how many earlier runs corrected it, `spread` the
    factor by which such estimates were typically off, None where there were none."""

    machine: str
    tokens: int
    memory: Memory
    seconds: Seconds
    fits: bool
    watt_hours: float | None = None
    money: float | None = None
    corrected_by: int = 0
    spread: float | None = None


class ServingEstimate(_Record):
    """What answering takes on one machine: memory with the engine's reserve, one answer alone, and many at once.

    Energy and money are for a thousand answers.
    """

    machine: str
    memory: Memory
    fits: bool
    seconds_per_answer: float
    answers_per_minute: float
    watt_hours: float | None = None
    money: float | None = None


class Fit(_Record):
    """Whether a plan's training fits a machine of the list."""

    machine: str
    memory_gb: float
    needed_gb: float

    @property
    def fits(self) -> bool:
        return self.needed_gb <= self.memory_gb
