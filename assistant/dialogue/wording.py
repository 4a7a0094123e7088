"""Words: what changed, what is asked next, and the buttons under a message.

Owns sentences. Refuses to decide what happens; it is given the project and says what there is to say.
"""

from __future__ import annotations

from typing import Any

from assistant.dialogue.interview import ENOUGH_ROWS, Question, next_question
from assistant.project import Project
from prompts.spec import TaskSpec
from prompts.templates import language_name
from trainers.checks.finding import gravity, some
from trainers.profile import DatasetProfile

Answer = tuple[str, tuple[str, ...]]

SAMPLE = "Start with the sample project"
WELCOME = (
    "Hello. I help you teach a language model one task, on this machine, and find out whether it really got better.\n\n"
    "**What should the model do?** One or two sentences are enough. You can also drop a table here (CSV, JSON, Excel, "
    "Parquet), or paste examples, one a line, as `input -> answer`."
)
WELCOME_OPTIONS = (SAMPLE, "What can you do?")
HELP = (
    "Tell me the task in your own words, in English, German, French or Spanish, and give me examples: a table "
    "(CSV, JSON, Excel, Parquet), or rows pasted here as `input -> answer`. I write a first prompt, measure it, say "
    "whether training is worth it and what it costs, train, and put the base and the tuned model side by side.\n\n"
    "- At any point: `why?`, `skip`, `go back`, `start over`.\n"
    "- For the work: `prompt: ...` sets the prompt, `look at the data`, `measure it`, "
    "`improve the prompt`, `what do you advise?`, `try the options`, `start training`, `compare`.\n"
    "- For the prompt: `shorter`, `in German`, `always JSON`, `never ...`, `accept`, `versions`, `restore`.\n"
    "- Ask me about fine-tuning: `what is LoRA?`, `how much data do I need?`\n\n"
    "**What I cannot do:** pictures, sound and video; forecasts; look things up on the web; delete anything from here. "
    "Everything I note can be changed in the panels at the right."
)
NOTHING_FOUND = "I did not find a fact or a wish in that."
UNKNOWN = (
    "I do not know. I answer from a few dozen notes about fine-tuning (prompts, LoRA, data, scores, cost, privacy), "
    "and none of them is about that."
)
FIRST_PROMPT = "I wrote a first prompt; it is in **Prompt**, with rows exactly as the model will see them."
_MOST_LABELS, _MOST_FINDINGS = 12, 6
KEY_REMOVED = (
    "**There was a key or password in your message.** I masked it before keeping anything. Take it for leaked all the "
    "same and renew it; keys for a chat model belong into `TUNEWRIGHT_CHAT_KEY`."
)
_NAMES = {
    "input": "what goes in",
    "output": "what comes out",
    "output_format": "answer's shape",
    "input_language": "language of what goes in",
    "language": "language of the answer",
    "has_preferences": "judgements which answer is better",
    "device": "computes on",
    "gpu_memory_gb": "GPU memory",
    "time_budget_minutes": "time for training",
    "max_latency_ms": "longest wait",
    "local_only": "stays on this machine",
    "base_model": "base model",
    "metric": "score",
    "target_score": "good enough from",
    "must_never": "must never",
}
_UNITS = {"gpu_memory_gb": "GB", "time_budget_minutes": "minutes", "max_latency_ms": "ms"}


def name_of(field: str) -> str:
    """A spec field's name as a person would say it."""
    return _NAMES.get(field, field.replace("_", " "))


def value_of(value: Any, field: str = "") -> str:
    """A spec field's value as a person would write it, with its unit."""
    if value is None or value == "" or value == ():
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    if field.endswith("language"):
        return language_name(value)
    if field == "target_score":
        return f"{value:.0%}" if round(value * 100, 6).is_integer() else f"{value:g}"
    plain = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{plain} {_UNITS[field]}" if field in _UNITS else plain


def understood(before: TaskSpec, after: TaskSpec) -> str:
    """What changed in the spec, as a short diff; empty where nothing did."""
    lines = []
    for field, (old, new) in after.changes_since(before).items():
        if field == "description":
            continue
        mark = "you said" if after.origins.get(field) == "said" else "I assume"
        was = f"~~{value_of(old, field)}~~ → " if old not in (None, "", ()) else ""
        lines.append(f"- **{name_of(field)}**: {was}{value_of(new, field)}, {mark}")
    return "I noted:\n" + "\n".join(lines) if lines else ""


def found(profile: DatasetProfile) -> str:
    """What is in the data, in a few lines: sizes, labels and what would spoil a training, the worst first."""
    lines = [f"Rows take {profile.median_tokens} tokens in the middle, {profile.longest_tokens} at most."]
    if profile.labels:
        counts = [f"{label} ({count})" for label, count in profile.labels.items()]
        lines.append(f"{len(counts)} labels: {some(counts, _MOST_LABELS)}.")
    ranked = sorted(profile.findings, key=gravity)
    lines += [f"- {finding.text} {finding.effect}" for finding in ranked[:_MOST_FINDINGS]]
    if len(ranked) > _MOST_FINDINGS:
        lines.append(f"And {len(ranked) - _MOST_FINDINGS} smaller things, in **Data**.")
    if any(finding.fix for finding in ranked):
        lines.append("What can be mended has a button in **Data**; the file itself is never changed.")
    return "\n\n".join(lines)


def open_question(project: Project) -> Question | None:
    """The question that the project still needs an answer to."""
    return next_question(project.spec, project.skipped, has_data=project.data is not None)


def next_step(project: Project) -> Answer:
    """The one thing to ask or to offer now, with likely answers."""
    if question := open_question(project):
        return _asked(question, project), _options(question, project)
    if project.data is None:
        return (
            "Without examples I can only keep the task and write a prompt. Drop a file or paste rows whenever you have "
            "some.",
            (SAMPLE, "What do you advise?"),
        )
    if project.run_id is None:
        return "What next?", ("Measure the prompt", "Improve the prompt", "What do you advise?", "Start training")
    return "What next?", ("Compare side by side", "Show the report")


def _asked(question: Question, project: Project) -> str:
    if question.field == "examples" and project.typed:
        return f"{len(project.typed)} of {ENOUGH_ROWS} rows are here. Paste more, or drop a file."
    if question.field == "examples" and project.spec.examples == 0:
        return "Let us make some: write them here, one a line, as `input -> answer`. Twenty are enough to measure on."
    return question.again if project.asked == question.field else question.text


def _options(question: Question, project: Project) -> tuple[str, ...]:
    if question.field == "examples" and (project.spec.examples is not None or project.typed):
        return (SAMPLE, "Skip")
    return (*question.options, "Skip") if question.field != "task" else question.options
