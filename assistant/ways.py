"""The ways to tune that a person is offered, each with what it is good for, in a sentence.

Owns these sentences. The strategies themselves, and whether one can work here, are `trainers`'.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainers.objectives import AnyObjective, DpoObjective, KtoObjective, SftObjective
from trainers.plan import TrainingPlan
from trainers.strategies import (
    AnyStrategy,
    FewShotStrategy,
    FullStrategy,
    LoraStrategy,
    MetaLoraStrategy,
    PrefixTuningStrategy,
    PromptStrategy,
    PromptTuningStrategy,
    PTuningStrategy,
    QloraStrategy,
)
from trainers.strategies.full import Unfreezing


@dataclass(frozen=True)
class Way:
    """One offer."""

    title: str
    told: str
    strategy: AnyStrategy

    def is_in(self, plan: TrainingPlan) -> bool:
        """Whether a plan goes this way: the same type, and what this way sets."""
        mine, now = self.strategy.model_dump(), plan.strategy.model_dump()
        told = {*self.strategy.model_fields_set, *_TELLING.get(self.strategy.type, ())}
        return plan.strategy.type == self.strategy.type and all(now[key] == mine[key] for key in told)


# The fields that tell a plain way from its variants.
_TELLING = {"lora": ("use_dora", "use_rslora", "init"), "full": ("unfreezing", "layer_decay")}
WAYS: dict[str, Way] = {
    "lora": Way("LoRA", "A small adapter beside the base: the first choice, with some hundred examples or more.",
                LoraStrategy()),
    "dora": Way("LoRA with DoRA", "Learns magnitudes apart from directions: often a little better at low ranks, "
                "slower to train and to serve.", LoraStrategy(use_dora=True)),
    "rslora": Way("LoRA with rsLoRA", "Keeps high ranks stable: for 32 and more.", LoraStrategy(use_rslora=True)),
    "pissa": Way("LoRA with PiSSA", "Begins with what counts most in the base's weights: learns faster at first.",
                 LoraStrategy(init="pissa_niter_16")),
    "qlora": Way("QLoRA", "LoRA on a base held in 4 bits: for models that would not fit on the card otherwise.",
                 QloraStrategy()),
    "prompt_tuning": Way("Prompt tuning", "A few learned tokens before the prompt: some 40 kB, nothing else changes; "
                         "weak on small models.", PromptTuningStrategy()),
    "p_tuning": Way("P-tuning", "Learned tokens that a small network makes: steadier than prompt tuning.",
                    PTuningStrategy()),
    "prefix_tuning": Way("Prefix tuning", "Learned keys and values in every layer: stronger than prompt tuning.",
                         PrefixTuningStrategy()),
    "full": Way("Full tuning", "Every weight moves: for many examples and a model that may forget other things.",
                FullStrategy()),
    "gradual": Way("Full tuning, gradually", "From the top layer down, lower layers slower (ULMFiT): forgets less "
                   "than plain full tuning.", FullStrategy(unfreezing=Unfreezing(), layer_decay=0.9)),
    "meta_lora": Way("Meta-learned LoRA", "Learns to learn from small tasks made of your labels, then adapts to a few "
                     "rows of each in seconds (Reptile): for labels with a handful of examples.", MetaLoraStrategy()),
    "prompt": Way("Prompt alone", "Nothing is trained: the prompt as it is, measured on the held-out rows like any "
                  "result.",
                  PromptStrategy()),
    "few_shot": Way("Few-shot", "Solved examples in the prompt, nothing is trained: for a handful of examples.",
                    FewShotStrategy()),
}  # fmt: skip
OBJECTIVES: dict[str, AnyObjective] = {"sft": SftObjective(), "dpo": DpoObjective(), "kto": KtoObjective()}
