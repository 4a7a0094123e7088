"""What an export is asked for and what it tells. Owns these typed records; refuses to work them out.

The report stands beside the files as export.json, without the folder that it was written to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Format = Literal["adapter", "merged", "gguf", "ollama", "hub"]
FORMATS: tuple[Format, ...] = get_args(Format)
Content = Literal["adapter", "merged", "gguf"]
Quantization = Literal["f32", "f16", "q8_0"]
QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)
REPORT = "export.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Order(_Record):
    """What is asked for. Without `to`, the run's own exports/ folder.

    A hub gets `content`, by default the result as it is; it is only sent where `push` says so, and seen by its owner
    alone where `public` does not.
    """

    format: Format
    to: Path | None = None
    quantization: Quantization = Field("f16", description="Of a GGUF file's matrices")
    base_id: str = Field("", description="What to call the base, as owner/name on a hub")
    repo: str = Field("", description="owner/name on the hub")
    content: Content | None = None
    push: bool = False
    public: bool = False

    @model_validator(mode="after")
    def _goes_together(self) -> Order:
        if self.format != "hub" and (self.repo or self.push or self.public or self.content):
            raise ValueError("repo, push, public and content are for the hub alone")
        if self.format == "hub" and self.repo.count("/") != 1:
            raise ValueError("the hub wants a repo as owner/name")
        return self


class SelfTest(_Record):
    """The export against the served model on the same tokens, in float32 logits; both loaded from what was saved.

    Differences are largest absolute ones of a logit, divergences mean KL(served || export) in nats. `arrived` is the
    share of what training changed that is in the export: 1 where all of it is, 0 for the base itself, None where
    training changed nothing.
    """

    chats: int
    places: int
    difference: float
    divergence: float
    tolerance: float
    tolerance_divergence: float
    from_base: float
    from_base_divergence: float
    arrived: float | None
    dtype: str

    @property
    def told(self) -> str:
        """In words, with the figures."""
        here = f"at {self.places:,} places of {self.chats} texts"
        words = (
            f"Loaded again and compared with the served model {here}: the largest difference is {self.difference:.2g} "
            f"(allowed {self.tolerance:g}), the mean divergence {self.divergence:.2g} nats (allowed "
            f"{self.tolerance_divergence:g})."
        )
        if self.arrived is None:
            return f"{words} The served model does not differ from its base here: training changed nothing."
        return (
            f"{words} The base is {self.from_base_divergence:.2g} nats away; {self.arrived:.0%} of what training "
            "changed is in the export."
        )


class File(_Record):
    """One file of the export, its path counted from the folder."""

    path: str
    bytes: int
    sha256: str


class HowTo(_Record):
    """Lines to paste, for one way to use the export."""

    title: str
    lines: str


class Upload(_Record):
    """What goes to a hub, or would; `url` only where it went."""

    repo: str
    private: bool
    files: tuple[File, ...]
    pushed: bool = False
    url: str = ""

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


class ExportReport(_Record):
    """What was exported, from what, the proof, and how to use it."""

    run: str
    format: Format
    content: Content
    folder: Path | None = None
    base: str
    base_id: str
    prompt_id: str
    quantization: Quantization | None = None
    dtype: str = ""
    files: tuple[File, ...]
    self_test: SelfTest
    notes: tuple[str, ...] = ()
    how_to: tuple[HowTo, ...] = ()
    upload: Upload | None = None
    seconds: float = 0.0

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


class Progress(_Record):
    """One line of a child process: what it does now, or how it ended."""

    message: str = ""
    fraction: float = 0.0
    report: ExportReport | None = None
    error: str = ""
    hint: str = ""
