"""Which way of tuning a message names, and the figures that it names with it: "DoRA with rank 16", "5 epochs".

Owns the words for strategies and objectives, which are the field's own in every language. Refuses to make plans.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict

_FLOAT = r"(\d+(?:[.,]\d+)?(?:e-?\d+)?)"
# The first that matches is meant; a strategy's variants add their fields to it.
_STRATEGIES: tuple[tuple[str, str], ...] = (
    ("qlora", r"q-?lora|4.?bit"),
    ("prefix_tuning", r"prefix.?tun\w*"),
    ("p_tuning", r"\bp.?tun\w*"),
    ("prompt_tuning", r"prompt.?tun\w*|soft.?prompts?"),
    ("meta_lora", r"meta.?learn\w*|reptile|\bf?o?maml\b"),
    ("full", r"full.?(?:parameter.?)?(?:fine.?)?tun\w*|unfreez\w*|layer.?wise|discriminative|all (?:the )?weights|"
             r"voll\w* (?:fein)?tun\w*|alle gewichte"),
    ("lora", r"\blora\b|dora\b|rs-?lora|pissa|o-?lora\b|\beva\b|adapter\b"),
)  # fmt: skip
_VARIANTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("lora", r"\bdora\b", {"use_dora": True}),
    ("lora", r"rs-?lora", {"use_rslora": True}),
    ("lora", r"pissa", {"init": "pissa_niter_16"}),
    ("lora", r"\bo-?lora\b", {"init": "olora"}),
    ("lora", r"\beva\b", {"init": "eva"}),
    ("lora", r"orthogonal", {"init": "orthogonal"}),
    ("full", r"unfreez\w*", {"unfreezing": {}}),
    ("full", r"layer.?wise|discriminative", {"layer_decay": 0.9}),
    ("meta_lora", r"\bf?o?maml\b", {"algorithm": "fomaml"}),
)
_OBJECTIVES: tuple[tuple[str, str], ...] = (
    ("dpo", r"\bdpo\b|preference.?(?:tun\w*|learn\w*|optimi\w*)|(?:from|aus|by) (?:the |my )?preferences?"),
    ("kto", r"\bkto\b|(?:from|aus|by) (?:the |my )?thumbs"),
    ("sft", r"\bsft\b|supervised|(?:from|by) (?:the |my )?examples"),
)
_FIGURES: tuple[tuple[str, str, type], ...] = (
    ("strategy.r", r"\br(?:ank)?\s*(?:of|=|:)?\s*(\d+)", int),
    ("strategy.num_virtual_tokens", r"(\d+)\s*(?:virtual|soft)\s*tokens", int),
    ("training.epochs", rf"{_FLOAT}\s*epoch(?:s|en)?\b", float),
    ("training.learning_rate", rf"(?:learning.?rate|lr|lernrate)\s*(?:of|to|=|:)?\s*{_FLOAT}", float),
)


class Way(BaseModel):
    """What a message asks a plan to be: a strategy and an objective by type, and fields by dotted key."""

    model_config = ConfigDict(frozen=True)

    strategy: dict[str, Any] | None = None
    objective: dict[str, Any] | None = None
    figures: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self.strategy or self.objective or self.figures)


def way_in(text: str) -> Way:
    """The way of tuning that a message names; an empty one where it names none."""
    folded = text.casefold()
    kind = next((name for name, pattern in _STRATEGIES if re.search(pattern, folded)), None)
    strategy: dict[str, Any] | None = None
    if kind:
        strategy = {"type": kind}
        for of, pattern, fields in _VARIANTS:
            if of == kind and re.search(pattern, folded):
                strategy |= fields
    objective = next((name for name, pattern in _OBJECTIVES if re.search(pattern, folded)), None)
    figures = {
        key: as_type(found[1].replace(",", "."))
        for key, pattern, as_type in _FIGURES
        if (found := re.search(pattern, folded))
    }
    return Way(strategy=strategy, objective={"type": objective} if objective else None, figures=figures)
