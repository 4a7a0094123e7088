"""Other tasks of the person's own, that the tuned model must still be able to do: one file each. Never imports torch.

Owns reading the files and how such a task is asked and scored. Refuses to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prompts.allowed import Allowed
from prompts.errors import DataError
from prompts.metrics import METRICS
from prompts.metrics.answers import json_value
from prompts.spec import TaskSpec
from prompts.templates import starting_prompt
from prompts.versions import PromptVersion
from trainers.data import Example, guess_mapping, labels_of, read_examples
from trainers.evaluation.probe import Subject
from trainers.reading import read_table

_MOST_TOKENS = 128
_CHARACTERS_A_TOKEN = 3  # few, so that a limit holds the answer
_MOST_LABELS = 200


@dataclass(frozen=True)
class OwnTask:
    """A file's rows, how they are asked, and `row(answer, expected)`, the score of one in [0, 1]."""

    name: str
    rows: tuple[Example, ...]
    prompt: PromptVersion
    metric: str
    row: Callable[[str, str], float]
    max_tokens: int


def own_tasks(subject: Subject) -> tuple[OwnTask, ...]:
    """The plan's further tasks, each with at most as many rows as a probe may ask.

    Rows are asked as they stand, but where the answers are labels and the inputs ask nothing themselves, these are
    named; answers are held to them.
    Raises `DataError` where a file is not there, cannot be read, or has no answered row.
    """
    return tuple(_task(path, subject) for path in subject.how.own_tasks)


def _task(path: Path, subject: Subject) -> OwnTask:
    if not path.is_file():
        raise DataError(f"There is no file {path} to try another task with.", hint="Change evaluation.own_tasks.")
    table = read_table(path)
    examples = read_examples(table, guess_mapping(table))
    labels = labels_of(examples)
    labels = labels if 1 < len(labels) <= _MOST_LABELS else ()
    prompt, metric = _asked(labels, examples), _metric(labels, examples)
    longest = max(len(example.output) for example in examples) // _CHARACTERS_A_TOKEN + 8
    return OwnTask(
        name=path.stem,
        rows=tuple(subject.sample(examples)),
        prompt=prompt,
        metric=metric,
        row=METRICS[metric].row,
        max_tokens=min(_MOST_TOKENS, longest),
    )


def _asked(labels: tuple[str, ...], examples: list[Example]) -> PromptVersion:
    if not labels:
        return PromptVersion()
    ask_themselves = all(example.input.rstrip().endswith("?") for example in examples)
    spec = TaskSpec(task="classification", output_format="label", labels=labels)
    start = PromptVersion() if ask_themselves else starting_prompt(spec)
    return start.model_copy(update={"allowed": Allowed(choices=labels)})


def _metric(labels: tuple[str, ...], examples: list[Example]) -> str:
    if labels:
        return "exact match"
    return "JSON match" if all(json_value(example.output) is not None for example in examples) else "chrF"
