"""Solved examples in a message: found in the ways people paste them, and told from descriptions."""

from __future__ import annotations

import pytest

from assistant.dialogue.offline.pasted import pasted_examples
from prompts.spec import TaskSpec

LABELS = ("spam", "ham")


@pytest.mark.parametrize(
    ("text", "labels", "rows", "rest"),
    [
        ("I was charged twice -> billing", (), [("I was charged twice", "billing")], ""),
        ("win a prize => SPAM", LABELS, [("win a prize", "spam")], ""),
        (
            "- win a prize → spam\n- see you at noon → ham",
            LABELS,
            [("win a prize", "spam"), ("see you at noon", "ham")],
            "",
        ),
        ("1) win a prize\tspam\n2) see you\tham", LABELS, [("win a prize", "spam"), ("see you", "ham")], ""),
        ("here are two:\na b c -> x\nd e f -> y", (), [("a b c", "x"), ("d e f", "y")], "here are two:"),
        (
            "you won a million: spam\nlunch at one today: ham",
            LABELS,
            [("you won a million", "spam"), ("lunch at one today", "ham")],
            "",
        ),
        ('"win, a prize now", spam', LABELS, [("win, a prize now", "spam")], ""),
        (
            '{"text": "win", "label": "spam"}\n{"text": "lunch", "label": "ham"}',
            (),
            [("win", "spam"), ("lunch", "ham")],
            "",
        ),
        ('[{"input": "2+2", "output": "4"}, {"input": "1+1", "output": "2"}]', (), [("2+2", "4"), ("1+1", "2")], ""),
        ("text,label\nwin a prize,spam\nlunch,ham", (), [("win a prize", "spam"), ("lunch", "ham")], ""),
        (
            "ticket;team\nno light;technical\nwhere is it;delivery",
            (),
            [("no light", "technical"), ("where is it", "delivery")],
            "",
        ),
        ("Q: what torque?\nA: 25 Nm", (), [("what torque?", "25 Nm")], ""),
        (
            "Input: late again\nLabel: complaint\n\nInput: lovely\nLabel: praise",
            (),
            [("late again", "complaint"), ("lovely", "praise")],
            "",
        ),
    ],
)
def test_rows_are_found(text: str, labels: tuple[str, ...], rows: list[tuple[str, str]], rest: str) -> None:
    found, left = pasted_examples(text, TaskSpec(labels=labels))
    assert [(row.input, row.output) for row in found] == rows
    assert left == rest


@pytest.mark.parametrize(
    "text",
    [
        "Translate DE -> FR",
        "Long call transcripts -> short summary, in Spanish (the calls are in Spanish too)",
        "log line -> one of {infra|app|network|noise}. 48k labelled lines",
        '{"name": "", "date": "", "amount": ""} out of donation letters pls',
        '{"supplier": "", "total": ""}',
        "Museum catalogue cards -> structured records, schema is\n\nclass Item(BaseModel):\n    title: str",
        "we want this: input -> output, and nothing else",
        "labels are spam, ham",
        "metric: macro f1",
        "def f(x) -> int:\n    return x",
        "",
    ],
)
def test_descriptions_are_none(text: str) -> None:
    found, left = pasted_examples(text, TaskSpec(labels=LABELS))
    assert found == () and left == text
