"""Prompts to begin with, by kind of task, kept as YAML: `tasks/<kind>.yaml`, for small and for large models.

Owns the data and their rendering from a task spec. Refuses to refine or score. A variable that a template names and a
spec does not have is an error, told with file and name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict

from prompts.allowed import Allowed
from prompts.errors import PromptError
from prompts.spec import TaskSpec
from prompts.versions import DEFAULT_TEMPLATE, PromptVersion

Size = Literal["small", "large"]
# From about here on models keep to several rules at once; our own border, not a published one.
_LARGE = 3e9
_BRACES = re.compile(r"\{\{|\{%|\{#")
_FORBIDS = re.compile(r"\b(?:never|not|no|nie|niemals|nicht|kein\w*|jamais|ne|pas|nunca|jamás)\b|n't\b", re.IGNORECASE)


class TaskTemplate(BaseModel):
    """One way to ask for a kind of task: Jinja for the system prompt and for the person's turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    system: str = ""
    template: str = DEFAULT_TEMPLATE.replace("{{ input }}", "{{ '{{ input }}' }}")


def size_of(parameters: int) -> Size:
    """How a model of so many weights is best written to."""
    return "large" if parameters >= _LARGE else "small"


def starting_prompt(spec: TaskSpec, size: Size = "small") -> PromptVersion:
    """The first prompt for a task. A spec without a task kind gets its own description as the system prompt."""
    first = _of_task(spec.task or "generation")[size][0]
    return _rendered(first, spec, reason="a start from the task")


def candidates(
    spec: TaskSpec, labels: Sequence[str] = (), size: Size = "small", allowed: Allowed | None = None
) -> list[PromptVersion]:
    """Every way to ask for the task, those for models of this size first; `labels` are the data's, if it has any."""
    known = spec.model_copy(update={"labels": tuple(labels)}) if labels else spec
    templates = _of_task(spec.task or "generation")
    other: Size = "small" if size == "large" else "large"
    ordered = [*templates[size], *templates[other]]
    found = [
        _rendered(template, known, reason=f"template: {template.name}").model_copy(update={"allowed": allowed})
        for template in ordered
    ]
    return list({version.id: version for version in found}.values())


@cache
def _of_task(task: str) -> dict[Size, list[TaskTemplate]]:
    raw = yaml.safe_load(files(__package__).joinpath("tasks", f"{task}.yaml").read_text("utf-8"))
    return {size: [TaskTemplate.model_validate(entry) for entry in raw[size]] for size in ("small", "large")}


@cache
def _demands() -> str:
    return str(yaml.safe_load(files(__package__).joinpath("demands.yaml").read_text("utf-8"))["demands"])


def _rendered(template: TaskTemplate, spec: TaskSpec, reason: str) -> PromptVersion:
    facts = {**spec.model_dump(), "language_name": language_name(spec.language)}
    system = " ".join(fill(source, facts, template.name) for source in (template.system, _demands()))
    turn = fill(template.template, facts, template.name).strip()
    if turn != DEFAULT_TEMPLATE:  # facts stand in it, and braces in a label are no variable
        turn = _literal(turn)
    return PromptVersion(system=" ".join(system.split()), template=turn, author="tunewright", reason=reason)


def _literal(turn: str) -> str:
    """The person's turn with every brace but the input's own kept as text."""
    before, marked, after = turn.partition(DEFAULT_TEMPLATE)
    return marked.join(_BRACES.sub(lambda found: "{{ '" + found.group() + "' }}", part) for part in (before, after))


def fill(source: str, facts: dict[str, Any], name: str) -> str:
    """A template with its facts. Raises `PromptError` that names the template, and the variable that it lacks."""
    environment = SandboxedEnvironment(undefined=StrictUndefined)
    environment.filters |= {"sentence": _sentence, "forbidden": _forbidden, "sentence_case": _sentence_case}
    try:
        return environment.from_string(source).render(**facts)
    except TemplateError as error:
        raise PromptError(f"The template {name!r} cannot be filled: {error}.", hint="Mend its YAML file.") from error


def _sentence(text: str) -> str:
    return f"{_sentence_case(text).rstrip(' .!')}."


def _sentence_case(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _forbidden(clause: str) -> str:
    """What must never be, as a sentence; "promise refunds" lacks the word that forbids it."""
    return _sentence(clause if _FORBIDS.search(clause) else f"never {clause}")


def language_name(code: str) -> str:
    """The English name of a language by its ISO 639-1 code; what is no code is a name already."""
    from babel import Locale  # here, since most tasks name no language

    return str(Locale("en").languages.get(code, code))
