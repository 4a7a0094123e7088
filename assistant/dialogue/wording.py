"""Words: what changed, what is asked next, and the buttons under a message.

Owns sentences. Refuses to decide what happens; it is given the project and says what there is to say.
"""

from __future__ import annotations

from typing import Any

from assistant.project import Project
from prompts.spec import TaskSpec

WELCOME = (
    "Hello. I help you teach a language model one task, on this machine, and find out whether it really got better.\n\n"
    "**What should the model do?** One or two sentences are enough. You can also drop a CSV or JSONL file here."
)
WELCOME_OPTIONS = ("Start with the sample project", "What can you do?")
HELP = (
    "Tell me the task in your own words, and give me examples as a CSV or JSONL file. I write a first prompt, measure "
    "it, say whether training is worth it and what it costs, train, and put the base and the tuned model side by side. "
    "You can write `prompt: ...` to set the prompt, `measure it`, `what do you advise?`, `start training`, `compare`. "
    "Everything can also be edited in the panels at the right."
)
_NAMES = {
    "output_format": "answer's shape",
    "gpu_memory_gb": "GPU memory in GB",
    "time_budget_minutes": "time budget in minutes",
    "local_only": "stays on this machine",
    "base_model": "base model",
}


def name_of(field: str) -> str:
    """A spec field's name as a person would say it."""
    return _NAMES.get(field, field.replace("_", " "))


def value_of(value: Any) -> str:
    """A spec field's value as a person would write it."""
    if value is None or value == "" or value == ():
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def understood(before: TaskSpec, after: TaskSpec) -> str:
    """What a message changed in the spec, as a short list; empty where nothing did."""
    lines = []
    for field, (old, new) in after.changes_since(before).items():
        if field == "description":
            continue
        mark = "you said" if after.origins.get(field) == "said" else "I assume"
        was = f" (was {value_of(old)})" if old not in (None, "", ()) else ""
        lines.append(f"- **{name_of(field)}**: {value_of(new)}{was}, {mark}")
    return "I noted:\n" + "\n".join(lines) if lines else ""


def next_step(project: Project) -> tuple[str, tuple[str, ...]]:
    """The one thing to ask or to offer now, with likely answers."""
    if project.spec.task is None and project.data is None:
        return "What kind of task is it?", ("Classification", "Extraction", "Summarization", "Text generation")
    if project.data is None:
        return (
            "Now some examples: drop a CSV or JSONL file here or in **Data**, with a column for what goes in and one "
            "for the right answer.",
            ("Start with the sample project",),
        )
    if project.run_id is None:
        return "What next?", ("Measure the prompt", "What do you advise?", "Start training")
    return "What next?", ("Compare side by side", "Show the report")
