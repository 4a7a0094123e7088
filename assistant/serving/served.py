"""What is served, as data: what can be asked for, who answers under its name, and the live model.

Owns the records. Refuses to start, load or ask anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from prompts.chat_model import ChatModel
from prompts.errors import EngineError
from prompts.versions import PromptVersion
from trainers.adapters import SOFT_PROMPTS, read_config
from trainers.models import LocalModel


class ServedModel(BaseModel):
    """Something that can be asked: a base model, a run's adapter on it, or a run's whole model in its place.

    `prompt` is what it is asked with.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    base: LocalModel
    artefact: Path | None = None
    prompt: PromptVersion

    @property
    def is_whole(self) -> bool:
        """Whether it is a model of its own, and no adapter."""
        return self.artefact is not None and not (self.artefact / "adapter_config.json").is_file()

    @property
    def is_soft(self) -> bool:
        """Whether it is a soft prompt, which a request can carry."""
        return self.artefact is not None and self.has_soft(self.artefact)

    @staticmethod
    def has_soft(adapter: Path) -> bool:
        """Whether a folder holds a soft prompt."""
        try:
            return read_config(adapter).get("peft_type") in SOFT_PROMPTS
        except EngineError:
            return False

    @property
    def rank(self) -> int:
        """The adapter's LoRA rank, 0 where it has none."""
        try:
            config = read_config(self.artefact) if self.artefact else {}
        except EngineError:
            return 0
        return max(int(rank) for rank in (config.get("r") or 0, *(config.get("rank_pattern") or {}).values()))


class Identity(BaseModel):
    """Who answers under a name, as it was found out when it was loaded.

    `served_as` is the name that the server gives, `parent` the base that it names for it, `digest` the hash of the
    files it was loaded from; the last two are empty for a base. `difference` is how far its answers to the probes are
    from the base's, and `noise` how far the base's own are from themselves when it is asked twice, in what `measured`
    says.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    served_as: str
    parent: str = ""
    digest: str = ""
    prompt_id: str
    engine: str
    difference: float | None = None
    noise: float | None = None
    measured: str = ""

    @property
    def told(self) -> str:
        """In words, for the pane."""
        if not self.digest:
            return f"the untouched base, on {self.engine}"
        apart = f", apart from the base by {self.difference:.2g} {self.measured}" if self.difference is not None else ""
        what = (
            f"weights {self.digest} on {self.parent}" if self.parent else f"a model of its own, weights {self.digest}"
        )
        return f"{what}{apart}, on {self.engine}"


@dataclass(frozen=True)
class Connected:
    """A live model and who it is."""

    model: ChatModel
    identity: Identity
