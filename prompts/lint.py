"""A critical reading of a prompt, in its first form.

Owns short remarks tied to the words they are about. Labels and examples come as arguments, so that nothing here
reaches up to the data. Refuses to score or rewrite.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from prompts.spec import OutputFormat
from prompts.versions import PromptVersion


class Remark(BaseModel):
    """One thing that is wrong with a prompt, and what to do."""

    model_config = ConfigDict(frozen=True)

    text: str
    about: str = ""


def read_prompt(
    version: PromptVersion, *, labels: Sequence[str] = (), output_format: OutputFormat | None = None
) -> list[Remark]:
    """Remarks on a prompt, the gravest first; an empty list where there is nothing to say."""
    said = f"{version.system} {version.template}"
    checks = [
        _task_unstated(said),
        _labels_missing(said, labels) if output_format == "label" else None,
        _format_unstated(said) if output_format == "json" else None,
        _special_tokens(said),
    ]
    return [remark for remark in checks if remark]


def _task_unstated(said: str) -> Remark | None:
    words = re.sub(r"\{\{.*?\}\}", "", said).split()
    if len(words) >= 3:
        return None
    return Remark(text="The prompt never says what to do. State the task in one sentence.")


def _labels_missing(said: str, labels: Sequence[str]) -> Remark | None:
    missing = [label for label in labels if not re.search(rf"(?<!\w){re.escape(label)}(?!\w)", said, re.IGNORECASE)]
    if not missing:
        return None
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    return Remark(text=f"The data has labels that the prompt never names: {shown}. Add them.", about=missing[0])


def _format_unstated(said: str) -> Remark | None:
    if "json" in said.casefold():
        return None
    return Remark(text="The answers are JSON, but the prompt never says so. Say it, and name the keys.")


def _special_tokens(said: str) -> Remark | None:
    token = re.search(r"<\|[^|]*\|>|\[/?INST\]|</?s>", said)
    if not token:
        return None
    return Remark(
        text=f"{token.group()} belongs to the model's chat template, which adds it by itself. Remove it.",
        about=token.group(),
    )
