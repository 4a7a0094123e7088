"""A LoRA that has learnt to learn from few examples: its first values are meta-trained on a pool of small tasks.

Owns the knobs of meta-training and of the adaptation that follows, and what the pool is made of. Importing it loads no
torch. Refuses to sample episodes (`trainers.pool`) and to move weights (`trainers.meta`).

Reptile (Nichol, Achiam, Schulman 2018, https://arxiv.org/abs/1803.02999) goes towards where a few steps on a task lead;
first-order MAML (Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400, section 5.2) follows the gradient that
other rows of the task have there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainers.data import Mapping
from trainers.hardware import Compute
from trainers.shapes import BaseShape
from trainers.strategies.lora import ALL_LINEAR, LoraStrategy
from trainers.strategies.strategy import AS_LORA, Serving, Start, Strategy

Algorithm = Literal["reptile", "fomaml"]
_USUAL_OUTER: dict[Algorithm, float] = {"reptile": 1.0, "fomaml": 1e-3}
_FOMAML_TOO_FAST = 0.1  # AdamW moves every weight by about so much a round; LoRA's weights begin below it


class PoolTask(BaseModel):
    """A labelled file that is one task of the pool: its labels are told apart from each other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    columns: Mapping
    name: str = Field("", description="What it is called in messages; the file's name where this is empty")

    @property
    def told(self) -> str:
        """Its name for a person."""
        return self.name or self.path.stem


class MetaLoraStrategy(Strategy):
    """Rank, scale and place of the adapter; how its first values are meta-trained, and how it then adapts."""

    title: ClassVar[str] = "Meta-learned LoRA"
    by_trl: ClassVar[bool] = False

    type: Literal["meta_lora"] = "meta_lora"
    r: int = Field(8, ge=1, le=512, description="Rank: how much the adapter can hold")
    alpha: float = Field(16, gt=0, description="Scale: the adapter counts alpha / r times")
    target_modules: str | tuple[str, ...] = ALL_LINEAR
    algorithm: Algorithm = Field("reptile", description="How a task's steps move the first values")
    rounds: int = Field(60, ge=1, le=100_000, description="Episodes that are learnt from, one after the other")
    inner_steps: int = Field(4, ge=1, le=1000, description="Steps on each episode")
    inner_rate: float = Field(1e-3, gt=0, lt=1, description="Learning rate of these steps")
    outer_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Reptile: how far towards where the steps led (1.0); FOMAML: learning rate (0.001)",
    )
    ways: int = Field(5, ge=2, le=200, description="Labels an episode")
    shots: int = Field(4, ge=1, le=1000, description="Examples a label")
    adaptation_steps: int = Field(12, ge=0, le=10_000, description="Steps on the person's own few examples")
    adaptation_rate: float = Field(1e-3, gt=0, lt=1, description="Learning rate of these steps")
    pool: tuple[PoolTask, ...] = Field((), description="Tasks to learn from; none means the person's own labels")

    @model_validator(mode="after")
    def _fits(self) -> MetaLoraStrategy:
        if self.algorithm == "fomaml" and self.outer >= _FOMAML_TOO_FAST:
            raise ValueError(
                f"an outer_rate of {self.outer:g} is Reptile's; for FOMAML it is a learning rate, say 0.001"
            )
        names = [task.told for task in self.pool]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two tasks of the pool are called {twice[0]!r}; name them differently")
        return self

    @property
    def outer(self) -> float:
        """The outer rate, the algorithm's usual one where none is named."""
        return self.outer_rate or _USUAL_OUTER[self.algorithm]

    @property
    def lora(self) -> LoraStrategy:
        """The adapter as plain LoRA has it. Without dropout, so that a round depends on its episode alone."""
        return LoraStrategy(r=self.r, alpha=self.alpha, dropout=0, target_modules=self.target_modules)

    @property
    def brief(self) -> str:
        return f"{self.title}, {self.rounds} rounds, {self.shots} shots"

    @property
    def serving(self) -> Serving:
        return AS_LORA

    def check(self, base: BaseShape, compute: Compute) -> None:
        self.lora.check(base, compute)

    def rows_seen(self, rows: int, epochs: float) -> float:
        return self.rounds * self.inner_steps * self.ways * self.shots + self.adaptation_steps * self.ways * self.shots

    def peft_config(self, start: Start) -> Any:
        return self.lora.peft_config(start)

    def save(self, model: Any, folder: Path, begun: Path | None) -> None:
        self.lora.save(model, folder, begun)
