"""Remarks on a prompt."""

from __future__ import annotations

import pytest

from prompts.lint import read_prompt
from prompts.spec import OutputFormat
from prompts.versions import PromptVersion

GOOD = "Classify the ticket. Answer with one of: billing, returns."


@pytest.mark.parametrize(
    ("system", "labels", "output_format", "words"),
    [
        ("", (), None, ["never says what to do"]),
        ("Classify.", (), "label", ["never says what to do"]),
        ("Classify the ticket.", ("billing", "returns"), "label", ["billing, returns"]),
        ("Classify the ticket: billing or a return.", ("billing", "returns"), "label", ["never names: returns."]),
        ("Choose one of: returns, billing.", ("return",), "label", ["never names: return."]),
        ("Extract the facts from it.", (), "json", ["never says so"]),
        ("Classify the ticket. <|im_end|>", (), None, ["<|im_end|>"]),
        ("[INST] Classify the ticket.", (), None, ["[INST]"]),
        ("", ("a",), "label", ["never says what to do", "never names: a."]),
        (GOOD, ("billing", "returns"), "label", []),
        (GOOD, ("Billing",), "label", []),
        ("Classify the ticket.", ("billing",), "text", []),
        ("Answer with one JSON object, please.", (), "json", []),
    ],
)
def test_remarks(system: str, labels: tuple[str, ...], output_format: OutputFormat | None, words: list[str]) -> None:
    remarks = read_prompt(PromptVersion(system=system), labels=labels, output_format=output_format)
    assert len(remarks) == len(words)
    for remark, word in zip(remarks, words, strict=True):
        assert word in remark.text


def test_many_missing_labels_are_counted_not_listed() -> None:
    labels = tuple(f"label{i}" for i in range(8))
    [remark] = read_prompt(PromptVersion(system="Classify the ticket."), labels=labels, output_format="label")
    assert "and 3 more" in remark.text
    assert remark.about == "label0"


def test_words_in_the_template_count_too() -> None:
    assert read_prompt(PromptVersion(template="Classify this ticket: {{ input }}")) == []
