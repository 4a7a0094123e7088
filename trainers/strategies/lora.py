"""LoRA: low-rank adapters beside frozen weights (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

Owns LoRA's knobs and their translation to PEFT. Importing it loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from peft import LoraConfig


class LoraStrategy(BaseModel):
    """Rank, scale and place of the adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["lora"] = "lora"
    r: int = Field(8, ge=1, le=512, description="Rank: how much the adapter can hold")
    alpha: float = Field(16, gt=0, description="Scale: the adapter counts alpha / r times")
    dropout: float = Field(0.05, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = "all-linear"
    use_rslora: bool = Field(False, description="Scale by alpha / sqrt(r) (Kalajdzievski 2023)")
    use_dora: bool = Field(False, description="Learn magnitudes apart from directions (Liu et al. 2024)")

    def peft_config(self) -> LoraConfig:
        """PEFT's configuration of this adapter."""
        from peft import LoraConfig

        modules = self.target_modules
        return LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=modules if isinstance(modules, str) else list(modules),
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
            task_type="CAUSAL_LM",
        )
