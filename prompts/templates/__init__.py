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
    source = _starting_templates().get(spec.task or "generation", "")
    text = SandboxedEnvironment().from_string(source).render(**spec.model_dump())
    return PromptVersion(system=" ".join(text.split()), author="tunewright", reason="a start from the task")
