"""Starting prompts by task, kept as YAML. Owns the data and one function; refuses to refine or score."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import yaml
from jinja2.sandbox import SandboxedEnvironment

from prompts.spec import TaskSpec
from prompts.versions import PromptVersion

_FORBIDS = re.compile(r"\b(?:never|not|no|nie|niemals|nicht|kein\w*|jamais|ne|pas|nunca|jamás)\b|n't\b", re.IGNORECASE)


@cache
def _starting_templates() -> dict[str, str]:
    return dict(yaml.safe_load(files(__package__).joinpath("starting.yaml").read_text("utf-8")))


def starting_prompt(spec: TaskSpec) -> PromptVersion:
    """The first prompt for a task. A spec without a task kind gets its own description as the system prompt."""
    templates = _starting_templates()
    environment = SandboxedEnvironment()
    environment.filters |= {"sentence": _sentence, "forbidden": _forbidden}
    facts = {**spec.model_dump(), "language_name": language_name(spec.language)}
    sources = (templates.get(spec.task or "generation", ""), templates["demands"])
    text = " ".join(environment.from_string(source).render(**facts) for source in sources)
    return PromptVersion(system=" ".join(text.split()), author="tunewright", reason="a start from the task")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip(' .!')}."


def _forbidden(clause: str) -> str:
    """What must never be, as a sentence; "promise refunds" lacks the word that forbids it."""
    return _sentence(clause if _FORBIDS.search(clause) else f"never {clause}")


def language_name(code: str) -> str:
    """The English name of a language by its ISO 639-1 code; what is no code is a name already."""
    from babel import Locale  # here, since most tasks name no language

    return str(Locale("en").languages.get(code, code))
