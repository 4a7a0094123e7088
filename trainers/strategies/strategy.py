"""What every strategy is: typed knobs, what they ask of the base model, and how the result is served.

Owns the protocol. Importing it loads no torch; what needs torch is imported inside the methods that the worker calls.
Refuses to know objectives, data and processes.

To add a strategy, write one small file with a subclass that cites its paper, and add it to the union in
`trainers.strategies`: plan, command line, panel, chat and benchmark take it from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from prompts.errors import PlanError
from trainers.hardware import Compute
from trainers.shapes import BaseShape

# What a run leaves: an adapter beside the base, a whole model, or a prompt for the untouched base.
Form = Literal["adapter", "model", "prompt"]


class Serving(BaseModel):
    """How the result answers: by which engine, as what, and that in words. vLLM takes what `vllm` says."""

    model_config = ConfigDict(frozen=True)

    vllm: bool
    told: str


AS_LORA = Serving(
    vllm=True, told="as a LoRA adapter beside the base: vLLM loads it while it runs, the embedded engine too"
)
AS_SOFT_PROMPT = Serving(
    vllm=True,
    told="as a soft prompt sent with each request: by vLLM, on a CPU in a second one beside that of the adapters, or "
    "by the embedded engine",
)


@dataclass(frozen=True)
class Start:
    """What a strategy may begin from: the loaded base, its tokenizer and folder, and the person's system prompt."""

    model: Any
    tokenizer: Any
    folder: Path
    words: str


class Strategy(BaseModel):
    """One way to change what a model does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: ClassVar[str]
    form: ClassVar[Form] = "adapter"
    trains: ClassVar[bool] = True
    # Soft prompts: packing would let documents attend across their borders, as PEFT drops their positions.
    virtual: ClassVar[bool] = False
    can_checkpoint: ClassVar[bool] = True
    # Whether TRL trains it; what does not has a way of its own, and learns from examples alone.
    by_trl: ClassVar[bool] = True

    @property
    def serving(self) -> Serving:
        """How the result is served, known before anything is trained."""
        raise NotImplementedError

    @property
    def brief(self) -> str:
        """What it is, in a few words for a title."""
        return self.title

    @property
    def keeps_base(self) -> bool:
        """Whether the base's own weights stay as they are while it trains."""
        return True

    def check(self, base: BaseShape, compute: Compute) -> None:
        """Raise `PlanError` where this cannot work on this base or machine. Called before the model is loaded."""

    def rows_seen(self, rows: int, epochs: float) -> float:
        """How many rows go through the model while it trains, counted as often as they do."""
        return rows * epochs if self.trains else 0.0

    def load_options(self) -> dict[str, Any]:
        """Keyword arguments for `from_pretrained` beyond the usual ones, as quantization has them."""
        return {}

    def peft_config(self, start: Start) -> Any:
        """PEFT's configuration of the adapter; None where the base's own weights are trained."""
        return None

    def begin(self, model: Any, start: Start) -> None:
        """Change the wrapped model's first values, where PEFT has no initialisation for that."""

    def begin_from_data(self, model: Any, batches: Callable[[], Any]) -> None:
        """Change the first values by what the training data are; `batches` gives them as they will be trained on."""

    def optimizer(self, model: Any, learning_rate: float, weight_decay: float) -> Any:
        """An optimizer of one's own; None for the trainer's AdamW."""
        return None

    def callbacks(self) -> list[Any]:
        """What has to happen while it trains."""
        return []

    def save(self, model: Any, folder: Path, begun: Path | None) -> None:
        """Write the artefact. `begun` holds the adapter as it was before the first step, for what needs it."""
        model.save_pretrained(folder)


def refuse(field: str, why: str, hint: str) -> PlanError:
    """The error for a strategy's field; the caller raises it."""
    return PlanError(f"strategy.{field}: {why}.", hint=hint)
