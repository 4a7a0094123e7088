"""LoRA: low-rank adapters beside frozen weights (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

Owns LoRA's knobs and their translation to PEFT. Importing it loads no torch.

Variants: rsLoRA (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732), DoRA (Liu et al. 2024,
https://arxiv.org/abs/2402.09353). First values: PiSSA (Meng et al. 2024, https://arxiv.org/abs/2404.02948), OLoRA
(Büyükakyüz 2024, https://arxiv.org/abs/2406.01775), EVA (Paischer et al. 2024, https://arxiv.org/abs/2410.07170).
PiSSA and OLoRA take their first values out of the base's weights; such a run is exported as a plain LoRA of twice the
rank, which belongs to the untouched base.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from trainers.hardware import Compute
from trainers.shapes import BaseShape
from trainers.strategies.strategy import AS_LORA, Serving, Start, Strategy, refuse

Init = Literal["default", "gaussian", "orthogonal", "pissa", "pissa_niter_16", "olora", "eva"]
_ALTERS_BASE = ("pissa", "pissa_niter_16", "olora")
ALL_LINEAR = "all-linear"


class LoraStrategy(Strategy):
    """Rank, scale, place and first values of the adapter."""

    title: ClassVar[str] = "LoRA"

    type: Literal["lora"] = "lora"
    r: int = Field(8, ge=1, le=512, description="Rank: how much the adapter can hold")
    alpha: float = Field(16, gt=0, description="Scale: the adapter counts alpha / r times")
    dropout: float = Field(0.05, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = ALL_LINEAR
    use_rslora: bool = Field(False, description="Scale by alpha / sqrt(r)")
    use_dora: bool = Field(False, description="Learn magnitudes apart from directions")
    init: Init = Field("default", description="First values; `default` leaves the model as it is")

    @model_validator(mode="after")
    def _goes_together(self) -> LoraStrategy:
        if self.use_dora and self.init in _ALTERS_BASE:
            raise ValueError(f"DoRA with {self.init} cannot be exported as a plain adapter; choose one of the two")
        if self.init == "orthogonal" and self.r % 2:
            raise ValueError("the orthogonal initialisation needs an even r")
        return self

    @property
    def serving(self) -> Serving:
        if self.use_dora:
            return Serving(vllm=False, told="by the embedded engine, with a model of its own: vLLM takes no DoRA")
        return AS_LORA

    @property
    def brief(self) -> str:
        return f"{self.title}, rank {self.r}"

    @property
    def keeps_base(self) -> bool:
        return self.init not in _ALTERS_BASE

    def check(self, base: BaseShape, compute: Compute) -> None:
        named = () if isinstance(self.target_modules, str) else self.target_modules
        if isinstance(self.target_modules, str) and self.target_modules != ALL_LINEAR:
            named = (self.target_modules,)
        known = ", ".join(sorted(base.modules))
        if not named and self.target_modules != ALL_LINEAR:
            raise refuse("target_modules", "it names no module", f"Name some of {known}, or `{ALL_LINEAR}`.")
        if missing := base.missing(named):
            told = f"the base model has no module {', '.join(map(repr, missing))}"
            raise refuse("target_modules", told, f"Name some of {known}, or `{ALL_LINEAR}`.")
        if "lm_head" in named:
            told = "an adapter on lm_head would not be trained: TRL reads the head's own weights"
            raise refuse("target_modules", told, "Leave lm_head out.")
        self._check_rank(base, named)

    def _check_rank(self, base: BaseShape, named: tuple[str, ...]) -> None:
        widths = {name: min(shape) for name, shape in base.modules.items() if not named or name in named}
        if widths and self.r > min(widths.values()):
            name = min(widths, key=lambda module: widths[module])
            told = f"rank {self.r} is above the width of {name}, which is {widths[name]}"
            raise refuse("r", told, f"Use at most {widths[name]}; 8 to 64 are usual.")

    def peft_config(self, start: Start) -> Any:
        from peft import EvaConfig, LoraConfig

        modules = self.target_modules
        # Every layer keeps the rank that was asked for: servers are started for one.
        eva = {"eva_config": EvaConfig(rho=1.0)} if self.init == "eva" else {}
        return LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=modules if isinstance(modules, str) else list(modules),
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
            init_lora_weights=True if self.init == "default" else self.init,
            task_type="CAUSAL_LM",
            **eva,
        )

    def begin_from_data(self, model: Any, batches: Callable[[], Any]) -> None:
        if self.init != "eva":
            return
        from peft import initialize_lora_eva_weights

        initialize_lora_eva_weights(model, batches(), show_progress_bar=False)

    def save(self, model: Any, folder: Path, begun: Path | None) -> None:
        if self.keeps_base or begun is None:  # one that goes on from a parent began as that, whatever `init` says
            # Loading puts the saved values in; computing others first, as some of these do, would only take time.
            config = model.peft_config["default"]
            config.init_lora_weights, config.eva_config = True, None
            model.save_pretrained(folder, selected_adapters=["default"])
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*changes the base weights")  # which is what this undoes
            model.save_pretrained(
                folder, selected_adapters=["default"], path_initial_model_for_weight_conversion=str(begun)
            )
