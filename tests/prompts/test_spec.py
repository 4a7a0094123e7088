"""The task spec: what was said stands against what was inferred."""

from __future__ import annotations

import pytest

from prompts.errors import DataError
from prompts.spec import OUTPUT_FORMATS, TASK_KINDS, Origin, TaskSpec, infer_format


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        ("said", "inferred", "old"),
        ("said", "default", "old"),
        ("inferred", "default", "old"),
        ("said", "said", "new"),
        ("inferred", "inferred", "new"),
        ("inferred", "said", "new"),
        ("default", "inferred", "new"),
    ],
)
def test_a_weaker_origin_never_overwrites_a_stronger_one(first: Origin, second: Origin, stands: str) -> None:
    spec = TaskSpec().updated(first, input="old").updated(second, input="new")
    assert spec.input == stands
    assert spec.origins["input"] == (second if stands == "new" else first)


def test_facts_that_may_not_be_set_do_not_keep_the_others_out() -> None:
    spec = TaskSpec().updated("said", task="classification").updated("inferred", task="chat", language="German")
    assert (spec.task, spec.language) == ("classification", "German")
    assert spec.origins == {"task": "said", "language": "inferred"}


def test_an_update_leaves_the_old_spec_as_it_was() -> None:
    before = TaskSpec(input="ticket")
    before.updated("said", input="mail")
    assert before.input == "ticket"
    assert before.origins == {}


@pytest.mark.parametrize(
    "facts", [{"colour": "red"}, {"task": "juggling"}, {"examples": -1}, {"time_budget_minutes": 0}]
)
def test_impossible_facts_are_refused(facts: dict[str, object]) -> None:
    with pytest.raises(DataError):
        TaskSpec().updated("said", **facts)


def test_changes_are_told_by_field_with_old_and_new() -> None:
    before = TaskSpec(input="ticket")
    after = before.updated("said", input="mail", labels=("a", "b"), local_only=False)
    assert after.changes_since(before) == {
        "input": ("ticket", "mail"),
        "labels": ((), ("a", "b")),
        "local_only": (None, False),
    }
    assert after.changes_since(after) == {}


def test_a_change_of_origin_alone_is_no_change() -> None:
    before = TaskSpec().updated("inferred", input="ticket")
    assert before.updated("said", input="ticket").changes_since(before) == {}


def test_labels_are_distinct_trimmed_and_in_order() -> None:
    spec = TaskSpec(labels=("b", " a", "b ", "", "  ", "a"), fields=("x", "x"))
    assert spec.labels == ("b", "a")
    assert spec.fields == ("x",)


def test_known_facts_leave_out_what_is_not_set_but_keep_no_and_zero() -> None:
    spec = TaskSpec(input="ticket", examples=0, local_only=False, origins={"input": "said"})
    assert spec.known() == {"input": "ticket", "examples": 0, "local_only": False}


@pytest.mark.parametrize("task", TASK_KINDS)
def test_every_task_has_a_usual_shape_of_answer(task: str) -> None:
    assert infer_format(task) in OUTPUT_FORMATS
    assert infer_format(None) is None
