"""Which way of tuning a message names."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.dialogue.offline.commands import act_in
from assistant.dialogue.offline.ways import Way, way_in


@pytest.mark.parametrize(
    ("text", "strategy", "objective", "figures"),
    [
        ("use LoRA", {"type": "lora"}, None, {}),
        ("use LoRA with rank 16 for 5 epochs", {"type": "lora"}, None, {"strategy.r": 16, "training.epochs": 5.0}),
        ("train it with DoRA", {"type": "lora", "use_dora": True}, None, {}),
        ("try rsLoRA", {"type": "lora", "use_rslora": True}, None, {}),
        ("use PiSSA please", {"type": "lora", "init": "pissa_niter_16"}, None, {}),
        ("use OLoRA", {"type": "lora", "init": "olora"}, None, {}),
        ("use QLoRA", {"type": "qlora"}, None, {}),
        ("use prompt tuning", {"type": "prompt_tuning"}, None, {}),
        ("try a soft prompt with 20 virtual tokens", {"type": "prompt_tuning"}, None,
         {"strategy.num_virtual_tokens": 20}),
        ("use P-tuning", {"type": "p_tuning"}, None, {}),
        ("use prefix tuning", {"type": "prefix_tuning"}, None, {}),
        ("use full fine-tuning", {"type": "full"}, None, {}),
        ("use gradual unfreezing with layer-wise rates", {"type": "full", "unfreezing": {}, "layer_decay": 0.9},
         None, {}),
        ("use DPO", None, {"type": "dpo"}, {}),
        ("learn from the thumbs with KTO", None, {"type": "kto"}, {}),
        ("use LoRA and DPO", {"type": "lora"}, {"type": "dpo"}, {}),
        ("set the learning rate to 1e-4", None, None, {"training.learning_rate": 1e-4}),
        ("nimm LoRA mit Rang 8", {"type": "lora"}, None, {}),
    ],
)  # fmt: skip
def test_a_way_is_named(
    text: str, strategy: dict[str, Any] | None, objective: dict[str, Any] | None, figures: dict[str, Any]
) -> None:
    assert way_in(text) == Way(strategy=strategy, objective=objective, figures=figures)
    assert act_in(text) == "choose"


@pytest.mark.parametrize(
    "text", ["use the embedded model", "use 20 examples", "make it shorter", "with the labels spam and ham", "try it"]
)
def test_other_wishes_name_none(text: str) -> None:
    assert act_in(text) != "choose"
    assert not way_in(text)
