"""Early warnings: where fine-tuning, or this app, is the wrong tool.

Owns when one is due and its words (`cautions.yaml`). Refuses to remember which were said: the caller does.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict

from assistant.dialogue.offline.text import READ, fold, tidy
from prompts.spec import TaskSpec


class Caution(BaseModel):
    """A warning, and what makes it due: a pattern over folded text, or few examples.

    `always` repeats it; where it is `alone`, nothing else is read out of the message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    when: tuple[str, ...] = ()
    unless: str = ""
    examples_at_most: int | None = None
    note: str = ""
    always: bool = False
    alone: bool = False

    def due(self, folded: str, spec: TaskSpec) -> bool:
        if self.examples_at_most is not None:
            return spec.origins.get("examples") == "said" and 0 < (spec.examples or 0) <= self.examples_at_most
        found = any(re.search(rf"(?<!\w)(?:{pattern})(?!\w)", folded) for pattern in self.when)
        return found and not (self.unless and re.search(self.unless, folded))


@cache
def _all() -> tuple[Caution, ...]:
    rows = yaml.safe_load(files(__package__).joinpath("cautions.yaml").read_text("utf-8"))
    return tuple(Caution.model_validate(row) for row in rows)


def cautions(text: str, spec: TaskSpec, said: Collection[str]) -> list[Caution]:
    """The warnings that a message calls for, without those that were said already."""
    folded = fold(tidy(text)[:READ])
    return [caution for caution in _all() if (caution.always or caution.id not in said) and caution.due(folded, spec)]
