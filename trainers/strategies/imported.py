"""An adapter that was trained elsewhere: nothing is trained, it is checked, compared with its base and served.

Owns where it lies and what of it can be served. PEFT's configuration says what it is.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal

from prompts.errors import EngineError
from trainers.adapters import SOFT_PROMPTS, check_fits, read_config
from trainers.hardware import Compute
from trainers.shapes import BaseShape
from trainers.strategies.strategy import AS_LORA, AS_SOFT_PROMPT, Serving, Strategy, refuse


class ImportedStrategy(Strategy):
    """A folder with adapter_config.json and weights."""

    title: ClassVar[str] = "Imported adapter"
    trains: ClassVar[bool] = False

    type: Literal["imported"] = "imported"
    adapter: Path

    @property
    def serving(self) -> Serving:
        try:
            config = read_config(self.adapter)
        except EngineError:  # `check` says so; a plan has to be shown all the same
            config = {}
        if config.get("peft_type") == "LORA" and not config.get("use_dora"):
            return AS_LORA
        if config.get("peft_type") in SOFT_PROMPTS:
            return AS_SOFT_PROMPT
        return Serving(vllm=False, told="by the embedded engine")

    def check(self, base: BaseShape, compute: Compute) -> None:
        config = read_config(self.adapter)
        if not any(self.adapter.glob("adapter_model.*")):
            raise refuse("adapter", f"{self.adapter} has a configuration and no weights", "Copy the whole folder.")
        if config.get("peft_type") == "LORA":
            check_fits(self.adapter, base.folder)

    def save(self, model: Any, folder: Path, begun: Path | None) -> None:
        shutil.copytree(self.adapter, folder, dirs_exist_ok=True)
