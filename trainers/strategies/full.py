"""Full tuning: every weight moves. With it, both usable together: gradual unfreezing and layer-wise learning rates
(ULMFiT, Howard and Ruder 2018, https://arxiv.org/abs/1801.06146).

Owns which layers move when and how fast. Refuses to know what they learn.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainers.hardware import Compute
from trainers.shapes import BaseShape
from trainers.strategies.strategy import Form, Serving, Strategy, refuse

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


class Unfreezing(BaseModel):
    """From the top layer down: all layers move once `over` of the steps are done, `layers` more at each stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: int = Field(1, ge=1, description="Layers that begin to move at each stage")
    over: float = Field(0.5, gt=0, le=1, description="Share of the steps after which everything moves")


class FullStrategy(Strategy):
    """All weights, or more and more of them; lower layers as much slower as `layer_decay` says."""

    title: ClassVar[str] = "Full tuning"
    form: ClassVar[Form] = "model"

    type: Literal["full"] = "full"
    unfreezing: Unfreezing | None = None
    layer_decay: float = Field(1.0, gt=0, le=1, description="Each layer's rate, as a share of that of the one above")

    @property
    def serving(self) -> Serving:
        return Serving(
            vllm=True,
            told="as a model of its own: by a second vLLM where memory allows, else by the embedded engine; either "
            "takes the base's memory again",
        )

    @property
    def keeps_base(self) -> bool:
        return False

    def check(self, base: BaseShape, compute: Compute) -> None:
        if self.unfreezing and self.unfreezing.layers >= base.layers:
            told = f"{self.unfreezing.layers} layers at each stage are all {base.layers} of them at once"
            raise refuse("unfreezing.layers", told, "Use fewer, or leave unfreezing out.")

    def optimizer(self, model: Any, learning_rate: float, weight_decay: float) -> Any:
        if self.layer_decay == 1.0:
            return None
        import torch

        groups = parameter_groups(model, learning_rate, weight_decay, self.layer_decay)
        return torch.optim.AdamW(groups, lr=learning_rate)

    def callbacks(self) -> list[Any]:
        if self.unfreezing is None:
            return []
        from trainers.unfreezing import GradualUnfreezing

        return [GradualUnfreezing(self.unfreezing.layers, self.unfreezing.over)]

    def save(self, model: Any, folder: Path, begun: Path | None) -> None:
        model.save_pretrained(folder)


def depths(model: Any) -> dict[str, int]:
    """How far below the top each parameter stands, by name: 0 for the head and the last norm, 1 for the top layer, and
    the embeddings below all. An embedding that is the head at the same time counts as an embedding."""
    names = [name for name, _ in model.named_parameters()]
    layers = 1 + max((int(found[1]) for name in names if (found := _LAYER.search(name))), default=-1)
    bottom = {id(model.get_input_embeddings().weight)}
    depth: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        found = _LAYER.search(name)
        depth[name] = layers - int(found[1]) if found else layers + 1 if id(parameter) in bottom else 0
    return depth


def parameter_groups(model: Any, rate: float, weight_decay: float, decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: a rate of `rate * decay ** depth`, and no weight decay on norms and biases."""
    groups: dict[tuple[int, bool], list[Any]] = {}
    depth = depths(model)
    for name, parameter in model.named_parameters():
        groups.setdefault((depth[name], parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": rate * decay**below, "weight_decay": weight_decay if matrix else 0.0}
        for (below, matrix), parameters in groups.items()
    ]
