"""A task from a file: read with its prompt, and mistakes told with the key and what is near to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.spec_file import read_asked
from prompts.errors import DataError


def test_a_spec_is_read_with_its_prompt(tmp_path: Path) -> None:
    text = "task: classification\ninput: ticket\nlabels: [a, b]\nprompt:\n  system: Which team?\n"
    file = tmp_path / "spec.yaml"
    file.write_text(text, "utf-8")
    asked = read_asked(file)
    assert asked.spec.labels == ("a", "b") and asked.spec.origins["labels"] == "said"
    assert asked.prompt is not None and asked.prompt.system == "Which team?"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tasks: classification\n", "spec.yaml: unknown key 'tasks'. Did you mean 'task'?"),
        ("zzz: 1\n", "spec.yaml: unknown key 'zzz'. The keys are: description, task, input"),
        ("task: sorting\n", "'task' is 'sorting', but it should be 'classification'"),
        ("time_budget_minutes: -3\n", "'time_budget_minutes' is -3, but it should be greater than 0. Mend that line."),
        ("target_score: 95\n", "'target_score' is 95, but it should be less than or equal to 1"),
        ("prompt: {template: hello}\n", "the template never uses {{ input }}"),
        ("prompt: {templates: '{{ input }}'}\n", "unknown key 'templates'. Did you mean 'template'?"),
        ("task: [\n", "spec.yaml cannot be read"),
        ("- task\n", "holds no spec"),
        ("just words", "holds no spec"),
        ("prompt: {template: '{{ question }}'}\n", "only {{ input }} is there"),
    ],
)
def test_a_spec_that_cannot_be_read_names_the_key_and_what_to_do(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(DataError) as told:
        read_asked(file)
    assert words in str(told.value) and str(file) in str(told.value)


def test_a_spec_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_asked(tmp_path / "gone.yaml")
