"""QLoRA: a LoRA on a base whose frozen weights are held in 4 bits (Dettmers et al. 2023,
https://arxiv.org/abs/2305.14314).

Owns the quantization's knobs; all else is LoRA. Needs bitsandbytes and an NVIDIA GPU, and says so where they are not.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, ClassVar, Literal

from pydantic import Field

from trainers.hardware import Compute
from trainers.shapes import BaseShape
from trainers.strategies.lora import LoraStrategy
from trainers.strategies.strategy import refuse

_INSTEAD = "Use `type: lora`, which needs more memory and nothing else."


class QloraStrategy(LoraStrategy):
    """LoRA on a 4-bit base. The adapter is a plain one, and is served on the base in its own precision."""

    title: ClassVar[str] = "QLoRA"

    type: Literal["qlora"] = "qlora"  # type: ignore[assignment]
    quantization: Literal["nf4", "fp4"] = "nf4"
    double_quantization: bool = Field(True, description="Quantize the quantization's own constants too")

    def check(self, base: BaseShape, compute: Compute) -> None:
        if compute.device != "cuda":
            raise refuse("type", "QLoRA needs an NVIDIA GPU, and there is none here", _INSTEAD)
        if find_spec("bitsandbytes") is None:
            raise refuse("type", "QLoRA needs the package bitsandbytes", f"`pip install bitsandbytes`. {_INSTEAD}")
        if not self.keeps_base:
            raise refuse("init", f"{self.init} would change quantized weights", "Use `init: default`.")
        super().check(base, compute)

    def load_options(self) -> dict[str, Any]:
        import torch
        from transformers import BitsAndBytesConfig

        return {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type=self.quantization,
                bnb_4bit_use_double_quant=self.double_quantization,
                bnb_4bit_compute_dtype=torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16,
            )
        }
