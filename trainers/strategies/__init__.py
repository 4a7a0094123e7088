"""Every way to change what a model does, one small file each. `Strategy` says how to add one."""

from typing import Annotated

from pydantic import Field

from trainers.strategies.few_shot import FewShotStrategy
from trainers.strategies.full import FullStrategy
from trainers.strategies.imported import ImportedStrategy
from trainers.strategies.lora import LoraStrategy
from trainers.strategies.meta import MetaLoraStrategy
from trainers.strategies.p_tuning import PTuningStrategy
from trainers.strategies.prefix_tuning import PrefixTuningStrategy
from trainers.strategies.prompt import PromptStrategy
from trainers.strategies.prompt_tuning import PromptTuningStrategy
from trainers.strategies.qlora import QloraStrategy
from trainers.strategies.strategy import Serving, Start, Strategy

AnyStrategy = Annotated[
    LoraStrategy
    | QloraStrategy
    | PromptTuningStrategy
    | PTuningStrategy
    | PrefixTuningStrategy
    | FullStrategy
    | MetaLoraStrategy
    | FewShotStrategy
    | PromptStrategy
    | ImportedStrategy,
    Field(discriminator="type"),
]

__all__ = [
    "AnyStrategy",
    "FewShotStrategy",
    "FullStrategy",
    "ImportedStrategy",
    "LoraStrategy",
    "MetaLoraStrategy",
    "PTuningStrategy",
    "PrefixTuningStrategy",
    "PromptStrategy",
    "PromptTuningStrategy",
    "QloraStrategy",
    "Serving",
    "Start",
    "Strategy",
]
