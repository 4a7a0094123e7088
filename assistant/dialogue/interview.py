"""The interview: the one thing to ask next, why it is asked, and likely answers.

Owns what is worth asking and in which order. Refuses to read answers (a mind's work) and to remember what was skipped.
Only what the next step needs is asked; everything else has a default that the Task panel shows as "I assume".
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from prompts.spec import TaskSpec

ENOUGH_ROWS = 20  # typed or pasted rows that open the workshop: a dev split of some rows is left to measure on


@dataclass(frozen=True)
class Question:
    """A question about one field of the spec. `needed` says whether it is worth asking, `again` asks once more."""

    field: str
    text: str
    again: str
    why: str
    options: tuple[str, ...]
    needed: Callable[[TaskSpec], bool]


QUESTIONS = (
    Question(
        "task",
        "What kind of task is it? The kind decides how an answer is scored and what teaches it best.",
        "What kind of task is it?",
        "The kind decides what an answer looks like, how it is scored, and which ways of teaching come into question.",
        ("Classification", "Extraction", "Summarization", "Rewriting", "Text generation", "Answering questions"),
        lambda spec: spec.task is None,
    ),
    Question(
        "labels",
        "Which answers are allowed? A list such as `billing, delivery, other` will do; the prompt names them, and each "
        "is scored by itself.",
        "Which answers are allowed?",
        "With the labels in the prompt the model cannot invent others, and accuracy can be measured label by label. "
        "If they stand in your data, I read them there.",
        ("They are in my data",),
        lambda spec: spec.task == "classification" and not spec.labels,
    ),
    Question(
        "fields",
        "Which keys should the JSON have? The prompt names them, and each is scored by itself.",
        "Which keys should the JSON have?",
        "The keys go into the prompt, and each is scored by itself. If they stand in your data, I read them there.",
        ("They are in my data",),
        lambda spec: spec.task == "extraction" and not spec.fields,
    ),
    Question(
        "language",
        "Into which language? The prompt has to name it.",
        "Into which language?",
        "The prompt names it, and a model that is weak in it is a reason for another base model.",
        ("English", "German", "French", "Spanish"),
        lambda spec: spec.task == "translation" and not spec.language,
    ),
    Question(
        "examples",
        "Now some examples with the right answer: drop a table here (CSV, JSON, Excel, Parquet), or paste them, one a "
        "line, as `input -> answer`. I measure on them, and a training learns from them; "
        f"{ENOUGH_ROWS} are enough to start.",
        "And examples, as a file or as `input -> answer`?",
        "Examples are what I measure on, and what a training learns from. Without them nobody can say whether a prompt "
        "or a training made anything better.",
        ("I have none yet", "Start with the sample project"),
        lambda spec: True,
    ),
)


def next_question(spec: TaskSpec, skipped: Collection[str], *, has_data: bool) -> Question | None:
    """The first question that is still needed and was not skipped; with data at hand only the task's kind is asked."""
    asked = [question for question in QUESTIONS if question.needed(spec) and question.field not in skipped]
    return next((q for q in asked if not has_data or q.field == "task"), None)


def question_about(field: str | None) -> Question | None:
    """The question that asks for a field."""
    return next((question for question in QUESTIONS if question.field == field), None)
