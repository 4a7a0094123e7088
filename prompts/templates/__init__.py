"""Starting prompts by task, kept as YAML. Owns the data and one function; refuses to refine or score."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from jinja2.sandbox import SandboxedEnvironment

from prompts.spec import TaskSpec
from prompts.versions import PromptVersion


@cache
def _starting_templates() -> dict[str, str]:
    return dict(yaml.safe_load(files(__package__).joinpath("starting.yaml").read_text("utf-8")))


def starting_prompt(spec: TaskSpec) -> PromptVersion:
    """The first prompt for a task. A spec without a task kind gets its own description as the system prompt."""
    templates = _starting_templates()
    environment = SandboxedEnvironment()
    environment.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:].rstrip(' .!')}."
    facts = {**spec.model_dump(), "language_name": language_name(spec.language)}
    sources = (templates.get(spec.task or "generation", ""), templates["demands"])
    text = " ".join(environment.from_string(source).render(**facts) for source in sources)
    return PromptVersion(system=" ".join(text.split()), author="tunewright", reason="a start from the task")


def language_name(code: str) -> str:
    """The English name of a language by its ISO 639-1 code; what is no code is a name already."""
    from babel import Locale  # here, since most tasks name no language

    return str(Locale("en").languages.get(code, code))
