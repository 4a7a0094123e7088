"""Judging written rows: what is refused and why, and what a trial says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from prompts.spec import TaskSpec
from prompts.versions import Demonstration
from prompts.writing import request_rows
from tests.trainers.checked import made_up_tickets
from trainers.data import Example
from trainers.synthetic import (
    Judge,
    Reason,
    Written,
    good_enough,
    judge_by,
    label_reader,
    told_reasons,
    unreadable,
)

ROWS = [Example(row=n, input=text, output=label) for n, (text, label) in enumerate(made_up_tickets(300), 1)]
LABELS = sorted({row.output for row in ROWS})
TEST_ROW = "My neighbour's parrot ate the invoice that you sent on Friday"
ASKED = request_rows(
    TaskSpec(input="ticket"),
    [Demonstration(input="Where may I find the tiny screws of my lamp?", output=LABELS[0])],
    4,
    label=LABELS[0],
    labels=LABELS,
)


def judge(free: bool = False, train: Sequence[Example] = ROWS[:40], **more: object) -> Judge:
    labels = [] if free else LABELS
    return judge_by(train, [row.input for row in train] + [TEST_ROW], labels, **more)  # type: ignore[arg-type]


def reasons(judge: Judge, *inputs: str, output: str = LABELS[0], earlier: Sequence[str] = ()) -> list[Reason]:
    rows = [Demonstration(input=text, output=output) for text in inputs]
    return [row.reason for row in judge.judge(ASKED, rows, earlier)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The lid of the blue box does not close any more.", ""),
        ("  ...", "empty"),
        ("word " * 200, "repeating itself"),
        (" ".join(f"word{n}" for n in range(400)), "too long"),
        ("Invent new situations, people and details. The lamp!", "our own words"),
        (TEST_ROW.upper() + "!", "copy"),
        (TEST_ROW.replace("Friday", "Monday"), "copy"),
        ("Where may I find the tiny nails of my lamp?", "copy"),
        ("Der Deckel der blauen Kiste schließt leider überhaupt nicht mehr.", "in another language"),
    ],
)
def test_what_is_refused(text: str, reason: Reason) -> None:
    assert reasons(judge(), text) == [reason]


def test_copies_of_every_real_row_are_refused_whatever_their_split() -> None:
    whole = judge_by(ROWS[:40], [row.input for row in ROWS], LABELS)
    assert set(reasons(whole, *(row.input for row in ROWS[40:]))) == {"copy"}


def test_rows_that_repeat_each_other_or_those_before() -> None:
    one, other = "The lid of the blue box does not close.", "The lid of the red box does not close."
    assert reasons(judge(), one, one, other) == ["", "copy", "copy"]
    assert reasons(judge(), other, earlier=[one]) == ["copy"]


def test_what_counts_as_near_can_be_given() -> None:
    def all_near(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
        return [(0, n) for n in range(len(second))] if first != second else []

    assert reasons(judge(near=all_near), "The lid does not close.") == ["copy"]


def test_labels_are_mended_in_spelling_and_unknown_ones_refused() -> None:
    assert judge().judge(ASKED, [Demonstration(input="The lid is off.", output=LABELS[0].upper())]) == [
        Written("The lid is off.", LABELS[0], "kept")
    ]
    assert reasons(judge(), "The lid is off.", output="nonsense") == ["with an unknown label"]
    assert reasons(judge(), "The lid is off.", output=LABELS[1]) == ["reading like another label"]


def test_a_row_that_reads_like_another_label_is_refused_and_nine_of_ten_right_ones_are_not() -> None:
    reader = label_reader(ROWS[:200])
    assert reader is not None
    texts, right = [row.input for row in ROWS[200:]], [row.output for row in ROWS[200:]]
    wrong = [LABELS[(LABELS.index(label) + 1) % len(LABELS)] for label in right]
    assert reader.agrees(texts, right).count(True) >= 80
    assert reader.agrees(texts, wrong).count(True) <= 30
    assert reader.agrees(["a"], ["never seen"]) == [None]
    assert reader.agrees([], []) == []


def test_a_reader_that_notices_nothing_is_not_asked() -> None:
    lottery = [Example(row=n, input=row.input, output="abcd"[n * 7919 % 97 % 4]) for n, row in enumerate(ROWS)]
    assert label_reader(lottery) is None
    assert label_reader(ROWS[:40]) is None
    assert label_reader([Example(row=n, input=row.input, output="a") for n, row in enumerate(ROWS)]) is None


def test_two_labels_are_enough_for_a_reader() -> None:
    two = [row for row in ROWS if row.output in LABELS[:2]]
    reader = label_reader(two)
    assert reader is not None
    agreed = reader.agrees([row.input for row in two], [row.output for row in two])
    assert agreed.count(True) >= 0.9 * len(two)


def test_answers_that_are_json_must_have_the_same_keys() -> None:
    train = [Example(row=n, input=row.input, output='{"name": "Ann", "town": "Ulm"}') for n, row in enumerate(ROWS[:9])]
    strict = judge(free=True, train=train)
    asked = request_rows(TaskSpec(), [], 1)
    outputs = ['{"town": "Bonn", "name": "Bo"}', '{"name": "Bo"}', "Bo", ""]
    rows = [Demonstration(input=f"text {n} of four", output=output) for n, output in zip("abcd", outputs, strict=True)]
    form: Reason = "with an answer of another form"
    assert [row.reason for row in strict.judge(asked, rows)] == ["", form, form, "empty"]


def test_what_did_not_come_counts_as_unreadable() -> None:
    row = Demonstration(input="a", output="b")
    assert [it.input for it in unreadable(ASKED, [], "I cannot.")] == ["I cannot.", "", "", ""]
    assert [it.input for it in unreadable(ASKED, [row], "...")] == ["", "", ""]
    assert unreadable(ASKED, [row] * 4, "...") == []


KEPT, COPY, LOST = (
    Written("a", "b", "kept", agrees=True),
    Written("a", "b", "refused", "copy"),
    Written("", "b", "refused", "unreadable"),
)


@pytest.mark.parametrize(
    ("rows", "good", "text"),
    [
        (
            [KEPT] * 3 + [COPY] * 6 + [LOST] * 3,
            False,
            "Of 12 trial rows 3 were usable: this model is not good enough at writing rows; "
            "refused were 6 copies, 3 unreadable.",
        ),
        (
            [KEPT] * 6 + [COPY] + [LOST] * 5,
            True,
            "Of 12 trial rows 6 were usable; refused were 5 unreadable, 1 copy. "
            "No check tells sense from nonsense: read them.",
        ),
        (
            [Written("a", "b", "kept")],
            True,
            "Of 1 trial rows 1 was usable. No check tells whether an answer is right, nor sense from nonsense: "
            "read them.",
        ),
        ([], False, "Of 0 trial rows 0 were usable: this model is not good enough at writing rows."),
    ],
)
def test_a_trial_in_words(rows: list[Written], good: bool, text: str) -> None:
    trial = good_enough(rows)
    assert (trial.rows, trial.good, trial.text) == (len(rows), good, text)


def test_the_most_frequent_reason_is_told_first() -> None:
    assert told_reasons([LOST, COPY, COPY, KEPT]) == "2 copies, 1 unreadable"
    assert told_reasons([KEPT]) == ""
