"""What an adapter is and which base it was made for, read from its files without torch.

Owns the questions that have to be settled before a server is asked to load an adapter. vLLM 0.32 leaves out, without
a word, the part of an adapter that its base has no layers for: such an adapter has to be refused here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prompts.errors import EngineError
from trainers.shapes import tensor_shapes

SOFT_PROMPTS = ("PROMPT_TUNING", "P_TUNING")  # what a request can carry as embeddings
_LAYER = re.compile(r"(.*\blayers\.\d+)\.")
_PREFIX = "base_model.model."


def read_config(adapter: Path) -> dict[str, Any]:
    """PEFT's configuration of an adapter. Raises `EngineError` where there is none."""
    try:
        config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{adapter} holds no readable adapter: {error}.", hint="Was the run finished?") from error
    return dict(config)


def check_fits(adapter: Path, base: Path) -> None:
    """Raise `EngineError` where a LoRA adapter was trained on a base of another shape."""
    weights = tensor_shapes(base)
    layers = {found.group(1) for name in weights if (found := _LAYER.match(name))}
    for name, shape in tensor_shapes(adapter).items():
        module, _, kind = name.removeprefix(_PREFIX).rpartition(".lora_")
        layer = _LAYER.match(f"{module}.")
        if layer and layers and layer.group(1) not in layers:
            raise _misfit(adapter, base, f"it changes {layer.group(1)}, which is not there")
        wanted = weights.get(f"{module}.weight")
        # Quantized weights are packed, so that their shape says nothing; those have other names or one dimension.
        if wanted and len(wanted) == 2 and kind in ("A.weight", "B.weight"):
            has, needs = (shape[1], wanted[1]) if kind == "A.weight" else (shape[0], wanted[0])
            if has != needs:
                raise _misfit(adapter, base, f"{module} is {needs} wide there and {has} in the adapter")


def _misfit(adapter: Path, base: Path, why: str) -> EngineError:
    return EngineError(
        f"The adapter in {adapter} was not trained on the model in {base}: {why}.", hint="Use the base it was made for."
    )
