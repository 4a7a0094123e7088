"""What a critique is made of: the draft with all that is known beside it, and a remark tied to words of it.

Owns these records and applying a suggestion. Refuses to look for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from prompts.spec import TaskSpec
from prompts.versions import Demonstration, PromptVersion

Severity = Literal["error", "warning", "info"]
Part = Literal["system", "template", "demonstrations"]


@dataclass(frozen=True)
class Draft:
    """A version and what it is read against.

    `labels` and `rows` (some training rows) are the data's; `in_test` says of an input whether the sealed test split
    has it, without showing any. `tokens` is what the prompt takes with a typical input and its answer, `limit` what the
    model can read; `marks` finds the special tokens of its chat template.
    """

    version: PromptVersion
    spec: TaskSpec = field(default_factory=TaskSpec)
    labels: Sequence[str] = ()
    rows: Sequence[Demonstration] = ()
    in_test: Callable[[str], bool] = field(default=lambda text: False)
    tokens: int | None = None
    limit: int | None = None
    marks: Callable[[str], str] = field(default=lambda text: "")

    @property
    def said(self) -> str:
        """System prompt and the person's turn, as one text."""
        return f"{self.version.system}\n{self.version.template}"

    @property
    def is_label(self) -> bool:
        return self.spec.output_format == "label" or (self.spec.output_format is None and bool(self.labels))

    @property
    def is_json(self) -> bool:
        return self.spec.output_format == "json"


class Span(BaseModel):
    """Words of a version: characters `start` to `end` of a part; of the demonstrations, the one at `index` whole."""

    model_config = ConfigDict(frozen=True)

    part: Part
    start: int = 0
    end: int = 0
    index: int = 0


class Suggestion(BaseModel):
    """A rewrite that takes the remark away: a label for a button, and the fields that it changes."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    label: str
    changes: dict[str, Any]


class Remark(BaseModel):
    """One thing to know about a draft, in one sentence, tied to the words it is about."""

    model_config = ConfigDict(frozen=True)

    check: str
    severity: Severity
    text: str
    about: Span | None = None
    suggestion: Suggestion | None = None


def applied(version: PromptVersion, remark: Remark) -> PromptVersion:
    """A child of the version with the remark's suggestion carried out; the remark must have one."""
    assert remark.suggestion is not None
    reason = remark.suggestion.label[:1].lower() + remark.suggestion.label[1:]
    return version.revised(reason=reason, author="tunewright", **remark.suggestion.changes)


def words_of(version: PromptVersion, span: Span) -> str:
    """The words that a span stands for."""
    if span.part == "demonstrations":
        return version.demonstrations[span.index].input
    return str(getattr(version, span.part))[span.start : span.end]
