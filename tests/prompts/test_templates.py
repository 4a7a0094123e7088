"""Starting prompts."""

from __future__ import annotations

import pytest

from prompts.critique import Draft, remarks_on
from prompts.spec import TASK_KINDS, TaskSpec, infer_format
from prompts.templates import starting_prompt


@pytest.mark.parametrize("task", [*TASK_KINDS, None])
def test_every_task_starts_with_a_prompt_that_reads_well(task: str | None) -> None:
    spec = TaskSpec.model_validate(
        {"task": task, "input": "support ticket", "labels": ("billing", "returns"), "output_format": infer_format(task)}
    )
    prompt = starting_prompt(spec)
    assert [
        r
        for r in remarks_on(Draft(prompt, spec, spec.labels if task == "classification" else ()))
        if r.severity != "info"
    ] == []
    assert prompt.system.endswith(".")
    assert "  " not in prompt.system
    assert "{" not in prompt.system
    assert prompt.author == "tunewright"


@pytest.mark.parametrize("task", [*TASK_KINDS, None])
def test_a_bare_task_starts_with_a_whole_sentence_too(task: str | None) -> None:
    prompt = starting_prompt(TaskSpec.model_validate({"task": task}))
    assert remarks_on(Draft(prompt)) == []
    assert "None" not in prompt.system
    assert "()" not in prompt.system


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"task": "classification", "labels": ("x", "y")}, "nothing else: x, y."),
        ({"task": "extraction", "fields": ("name", "date")}, "with the keys name, date"),
        ({"task": "translation", "language": "French"}, "into French"),
        ({"task": "generation", "description": "Write a poem {{ input }}"}, "Write a poem {{ input }}"),
        ({"description": "Judge the wine."}, "Judge the wine."),
    ],
)
def test_what_is_known_stands_in_the_prompt(facts: dict[str, object], words: str) -> None:
    assert words in starting_prompt(TaskSpec.model_validate(facts)).system
