"""A judge's question, its grades, and agreement against values worked out by hand or by scikit-learn."""

from __future__ import annotations

import random

import pytest

from prompts.metrics.judge import agreement, judge_messages, read_grade
from prompts.spec import TaskSpec


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("Fine.\nGrade: 4", 4),
        ("Grade: 2. On second thought\nGrade: **5**", 5),
        ("3", 3),
        (" 4/5 ", 4),
        ("Score - 1", 1),
        ("Grade: 7", None),
        ("Grade: 4.5", None),
        ("I cannot grade this.", None),
        ("", None),
        ("The answer has 3 faults", None),
    ],
)
def test_a_grade_is_read_or_there_is_none(reply: str, grade: int | None) -> None:
    assert read_grade(reply) == grade


def test_the_judge_sees_task_rules_input_example_and_answer() -> None:
    spec = TaskSpec(description="Answer mails.", must_never=("promise refunds",), rules=("greet",))
    system, user = judge_messages(spec, "where is it?", "On its way.", "Grade: 5 {{ x }}")
    assert "1 to 5" in system.content
    for words in ("Answer mails.", "never: promise refunds", "Rule: greet", "where is it?", "On its way.", "{{ x }}"):
        assert words in user.content


def test_agreement_is_whole_none_or_by_chance() -> None:
    grades = [1, 2, 3, 4, 5, 1, 5, 3]
    same = agreement(grades, grades)
    assert (same.kappa, same.equal, same.n) == (1.0, 1.0, 8)
    turned = agreement(grades, [6 - grade for grade in grades])
    assert turned.kappa is not None and turned.kappa < -0.5
    rng = random.Random(0)
    drawn = agreement([rng.choice((1, 3, 5)) for _ in range(300)], [rng.choice((1, 3, 5)) for _ in range(300)])
    assert drawn.kappa is not None and drawn.low is not None and drawn.high is not None
    assert drawn.low < 0 < drawn.high and abs(drawn.kappa) < 0.15
    assert "kappa" in drawn.told


@pytest.mark.parametrize("grades", [[], [5], [5, 4, 3, 2], [3] * 20])
def test_where_nothing_can_be_told_it_says_so(grades: list[int]) -> None:
    found = agreement(grades, grades)
    assert found.kappa is None and "tell how far" in found.told
