"""What a training is after: to answer as the examples do (SFT), or as people prefer (DPO, KTO).

Owns the objectives' knobs and what data each needs. Importing it loads no torch; the trainers are `sft` and
`preference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from prompts.errors import DataError
from trainers.data import Example, normal


class _Objective(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: ClassVar[str]
    # Rows whose only answer is one that somebody disliked.
    takes_disliked: ClassVar[bool] = False
    compares: ClassVar[bool] = True

    def usable(self, rows: Sequence[Example]) -> tuple[Example, ...]:
        """The rows that this objective can learn from. Raises `DataError` where they contradict themselves."""
        raise NotImplementedError

    @property
    def needs(self) -> str:
        """What a row must have, for a person."""
        raise NotImplementedError


class SftObjective(_Objective):
    """Supervised fine-tuning: loss on the answer alone."""

    title: ClassVar[str] = "supervised (SFT)"
    compares: ClassVar[bool] = False

    type: Literal["sft"] = "sft"
    packing: bool = Field(False, description="Several rows in one sequence: faster on a GPU with short rows")

    def usable(self, rows: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(row for row in rows if row.output)

    @property
    def needs(self) -> str:
        return "an answer"


class DpoObjective(_Objective):
    """Direct preference optimization (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290)."""

    title: ClassVar[str] = "preferences (DPO)"

    type: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0, le=10, description="How closely to stay with the parent; larger is closer")
    loss: Literal["sigmoid", "ipo", "hinge", "apo_zero"] = "sigmoid"

    def usable(self, rows: Sequence[Example]) -> tuple[Example, ...]:
        pairs = tuple(row for row in rows if row.output and row.rejected)
        equal = [row.row for row in pairs if normal(row.output) == normal(row.rejected)]
        if equal:
            shown = ", ".join(map(str, equal[:5])) + (f" and {len(equal) - 5} more" if len(equal) > 5 else "")
            raise DataError(
                f"Chosen and rejected answer are the same in row {shown}.",
                hint="Drop these rows in the Data panel, or change one side: nothing can be learned from a tie.",
            )
        return pairs

    @property
    def needs(self) -> str:
        return "a chosen and a rejected answer"


class KtoObjective(_Objective):
    """Learning from thumbs, no pairs needed (KTO, Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306)."""

    title: ClassVar[str] = "thumbs (KTO)"
    takes_disliked: ClassVar[bool] = True

    type: Literal["kto"] = "kto"
    beta: float = Field(0.1, gt=0, le=10, description="How closely to stay with the parent; larger is closer")
    desirable_weight: float = Field(1.0, gt=0, le=100)
    undesirable_weight: float = Field(1.0, gt=0, le=100)

    def usable(self, rows: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(row for row in rows if row.output or row.rejected)

    @property
    def needs(self) -> str:
        return "an answer with a thumb up or down"


AnyObjective = Annotated[SftObjective | DpoObjective | KtoObjective, Field(discriminator="type")]
