"""Asking for rows: what a request says, what is read from replies good and bad, and how many rows are wanted."""

from __future__ import annotations

import pytest

from prompts.spec import TaskSpec
from prompts.versions import Demonstration
from prompts.writing import levelled, read_rows, request_rows, shortfall

SPEC = TaskSpec(
    description="Sort tickets by team",
    task="classification",
    input="support ticket",
    tone="warm",
    input_language="de",
    rules=("refunds are billing",),
    must_never=("promise a date",),
)
BILLING = [Demonstration(input=f"Bill number {n} is wrong", output="billing") for n in range(20)]


def said(**more: object) -> str:
    values: dict[str, object] = {"label": "billing", "labels": ("account", "billing", "delivery"), **more}
    [message] = request_rows(SPEC, BILLING, 3, **values).messages  # type: ignore[arg-type]
    return message.content


def test_a_request_for_a_label_says_what_matters() -> None:
    text = said()
    for part in ("Sort tickets by team", 'with the label "billing"', "Write 3 new", "in German", "refunds are billing"):
        assert part in text
    assert "None may fit another label" in text and "account" in text and "delivery" in text
    assert text.count('{"input": "Bill number') == 6
    assert '"output"' not in text and "warm" not in text, "tone and answers are not the business of an input"


def test_a_request_for_free_answers_shows_them_and_how_they_should_be() -> None:
    text = said(label="", labels=())
    for part in ('"output": "billing"', "warm", "promise a date", "pairs"):
        assert part in text
    assert "another label" not in text


def test_a_request_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert said(seed="1") == said(seed="1")
    assert len({said(seed=str(n)) for n in range(8)}) == 8


def test_what_was_written_before_is_told_apart_from_the_examples() -> None:
    request = request_rows(SPEC, BILLING[:2], 3, label="billing", taken=["Why am I charged twice?"])
    assert "Why am I charged twice?" in request.messages[0].content
    assert set(request.shown) == {BILLING[0].input, BILLING[1].input, "Why am I charged twice?"}
    assert "Bill number" not in request.instructions and "charged" not in request.instructions


def test_many_labels_and_long_rows_do_not_blow_a_request_up() -> None:
    long = [Demonstration(input="word " * 10_000, output="billing")]
    request = request_rows(SPEC, long, 5, label="billing", labels=[f"label {n}" for n in range(500)])
    assert len(request.messages[0].content) < 4000
    assert request.tokens == 4096


A, B = Demonstration(input="one", output="x"), Demonstration(input="two", output="x")


@pytest.mark.parametrize(
    ("reply", "rows"),
    [
        ('{"input": "one"}\n{"input": "two"}', [A, B]),
        ('Sure!\n```json\n[{"input": "one"}, {"input": "two"}]\n```\nMore?', [A, B]),
        ('{"rows": [{"input": "one"}, {"input": "two"}]}', [A, B]),
        ('["one", "two"]', [A, B]),
        ('{"input": "one"}\n{"input": "two"}\n{"input": "thr', [A, B]),
        ('[{"input": "one"}, {"input": "two"}, {"inp', [A, B]),
        ('<think>{"input": "draft"}</think>{"text": "one"}\n1. {"ticket": "two"},', [A, B]),
        ('{"input": "one", "label": "x"} {"input": "two", "output": "x"}', [A, B]),
        ('{"input": "one\nand a half"}', [Demonstration(input="one\nand a half", output="x")]),
        ('Here are two:\n1. "one"\n2) **two**', [A, B]),
        ("- one\n- two\n- thr", [A, B]),
        ("Input: one\nLabel: x\nInput: two\n", [A, B]),
        ('{"input": "two", "label": "y"}', [Demonstration(input="two", output="y")]),
        ('{"input": one}\n1. two {', []),
        ("I am sorry, I cannot.", []),
        ("[1] {} [] {{[[", []),
        ("[" * 5000, []),
        ("", []),
    ],
)
def test_rows_are_read_from_replies_as_models_write_them(reply: str, rows: list[Demonstration]) -> None:
    assert read_rows(reply, "x", cut=reply.endswith("thr")) == rows


@pytest.mark.parametrize(
    ("reply", "pairs"),
    [
        ('{"input": "q", "output": "a"}', [("q", "a")]),
        ('{"question": "q", "answer": {"name": "Ann"}}', [("q", '{"name": "Ann"}')]),
        ("1. Input: q\n   Output: a\n2. Input: r", [("q", "a")]),
        ('{"input": "q"}', []),
        ('["q", "a"]', []),
    ],
)
def test_free_answers_need_both(reply: str, pairs: list[tuple[str, str]]) -> None:
    assert [(row.input, row.output) for row in read_rows(reply)] == pairs


def test_the_rarest_labels_come_up_first() -> None:
    counts = {"a": 1, "b": 5, "c": 6}
    assert shortfall(counts, 6) == {"a": 5, "b": 1}
    assert levelled(counts, 3) == {"a": 3}
    assert levelled(counts, 9) == {"a": 6, "b": 2, "c": 1}
    assert list(levelled({"c": 2, "b": 1, "a": 1}, 5)) == ["a", "b", "c"]
    assert levelled({}, 5) == {} == shortfall({}, 5)
