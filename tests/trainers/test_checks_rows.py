"""Checks that compare rows: unusable, repeated, almost repeated, balance, columns, lengths, train against test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainers.checked import COLUMNS, found, of_inputs, subject_of
from trainers.checks import subject as subject_module
from trainers.checks.balance import constant_answer, imbalance, rare_labels
from trainers.checks.columns import columns
from trainers.checks.lengths import cut_at, too_long
from trainers.checks.near import near_duplicates
from trainers.checks.overlap import train_and_test
from trainers.checks.repeats import contradictions, duplicates
from trainers.checks.subject import Subject
from trainers.checks.unusable import unusable
from trainers.data import Example, Mapping
from trainers.reading import table_of

PLAIN = of_inputs(*(f"text {n}" for n in range(20)))


def test_unusable_rows_are_those_without_an_input_or_an_answer() -> None:
    without_input, without_answer = found(unusable, [*PLAIN, ("", "a"), ("x", " ")])
    assert (without_input.rows, without_answer.rows) == ((21,), (22,))
    assert found(unusable, PLAIN) == []


def test_duplicates_are_later_copies_with_the_same_answer() -> None:
    [finding] = found(duplicates, [*PLAIN, ("TEXT  1", "b"), ("text 2", "b"), ("text 1", "b")])
    assert finding.rows == (21, 23), "row 22 has another answer, which no order can settle"
    assert finding.fix and finding.fix.action == "drop_rows"
    assert found(duplicates, PLAIN) == []


def test_contradictions_are_all_rows_of_an_input_with_two_answers() -> None:
    [finding] = found(contradictions, [*PLAIN, ("Text 1", "a"), ("text 3", "b")])
    assert (finding.rows, finding.severity) == ((2, 21), "warning")
    assert finding.examples == ("row 2: 'b', row 21: 'a'",)


def test_free_answers_may_differ() -> None:
    free = [(f"say {n}", f"an answer of its own, {n}") for n in range(9)]
    [finding] = found(contradictions, [*free, ("say 1", "said differently")])
    assert (finding.severity, finding.fix) == ("info", None)


NEAR = "Where is the parcel with my new kettle?"


@pytest.mark.parametrize(
    "twin",
    [
        "Where is the parcel with my new kettle, please",
        NEAR.replace("?", "!!"),
        "where is the parcel with my new kettles?!",
    ],
)
def test_near_duplicates_are_told_with_the_earlier_row(twin: str) -> None:
    [finding] = found(near_duplicates, [*PLAIN, (NEAR, "a"), (twin, "a"), ("The lamp I bought is broken", "b")])
    assert finding.rows == (22,)
    assert finding.examples[0].startswith("rows 21 and 22: ")
    assert "another answer" not in finding.text


def test_near_duplicates_with_another_answer_are_counted() -> None:
    [finding] = found(near_duplicates, [*PLAIN, (NEAR, "a"), (f"{NEAR} Hm", "b")])
    assert "1 of them with another answer" in finding.text


@pytest.mark.parametrize(
    "others",
    [
        ("text 1", "text 2", "text 3"),
        (NEAR, NEAR.upper(), NEAR.replace(" ", "  ")),
        (NEAR, "Where is the refund for my old kettle?", "When will the parcel with the lamp be here?"),
    ],
    ids=["short", "exact copies", "only alike"],
)
def test_what_is_no_near_duplicate(others: tuple[str, ...]) -> None:
    assert found(near_duplicates, of_inputs(*others)) == []


def test_many_near_duplicates_are_found() -> None:
    texts = [f"Ticket {n * 7919}: the {n * 31} things in parcel {n * 97} are broken, say {n * 13}" for n in range(150)]
    twins = [text.replace("broken", "brokn") for text in texts]
    [finding] = found(near_duplicates, of_inputs(*texts, *twins))
    assert len(set(finding.rows) & set(range(151, 301))) >= 149


def test_the_first_of_each_group_is_kept() -> None:
    chain = [NEAR[:-1] + "".join(f" {word}" for word in ("which", "I", "ordered")[:n]) for n in range(4)]
    [finding] = found(near_duplicates, of_inputs(*chain, "The lamp I bought is broken", chain[3].upper()))
    assert finding.rows == (2, 3, 4), "row 4 is near row 1 by way of the others; row 6 is an exact copy of row 4"
    assert finding.examples[2].startswith("rows 1 and 4: ")


def labelled(**counts: int) -> list[tuple[str, str]]:
    return [(f"text {label} {n}", label) for label, count in counts.items() for n in range(count)]


def test_labels_with_few_rows_are_rare() -> None:
    [finding] = found(rare_labels, labelled(a=30, b=30, c=7))
    assert finding.text == "Fewer than 8 examples for: c."
    assert found(rare_labels, labelled(a=30, b=30, c=8)) == []
    assert found(rare_labels, [(f"t {n}", f"free text {n}") for n in range(9)]) == []


def test_one_label_that_drowns_another_is_told_once() -> None:
    [finding] = found(imbalance, labelled(a=100, b=30, c=10))
    assert "100 rows of 'a', 10 of 'c'" in finding.text
    assert found(imbalance, labelled(a=99, b=10)) == []
    assert found(imbalance, labelled(a=100, b=7)) == [], "a rare label is another check's"


def test_one_answer_for_everything_is_an_error() -> None:
    [finding] = found(constant_answer, labelled(a=20))
    assert finding.severity == "error"
    assert found(constant_answer, labelled(a=20, b=1)) == []


def test_columns_that_are_empty_or_never_change() -> None:
    rows = [{"t": f"text {n}", "l": "ab"[n % 2], "note": " ", "shop": "north", "id": str(n)} for n in range(5)]
    table = table_of(rows, Path("d.csv"))
    empty, same = columns(Subject(table=table, mapping=COLUMNS, examples=()))
    assert (empty.text, same.text) == ("Column 'note' is empty.", "Column 'shop' is the same in every row.")
    [_, goes_in] = sorted(
        columns(Subject(table=table, mapping=Mapping(input="shop", output="l"), examples=())),
        key=lambda finding: finding.severity == "error",
    )
    assert "'shop'" in goes_in.text
    assert found(columns, PLAIN) == found(columns, PLAIN[:1]) == []


def test_rows_are_cut_above_a_limit_not_at_it() -> None:
    assert cut_at([512, 513, 2049], None) == {512: 2, 1024: 1, 2048: 1}
    assert cut_at([300], 256) == {256: 1, 512: 0, 1024: 0, 2048: 0}


def test_long_rows_come_longest_first() -> None:
    lengths = (100, 600, 3000, 512, 1100)
    [finding] = too_long(subject_of(PLAIN[:5], lengths=lengths, limit=8192))
    assert (finding.rows, finding.severity) == ((3, 5, 2), "warning")
    assert "3 at 512, 2 at 1,024, 1 at 2,048, 0 at the model’s limit of 8,192" in finding.text
    [finding] = too_long(subject_of(PLAIN[:5], lengths=lengths, limit=2500))
    assert finding.severity == "error", "the model itself cannot read row 3"
    assert found(too_long, PLAIN[:5], lengths=(1, 2, 3, 4, 512), limit=8192) == []
    assert found(too_long, PLAIN[:5]) == [], "lengths that nobody counted"


def test_training_rows_that_the_test_asks_too() -> None:
    texts = ["Where is it", "Broken lamp", "I was charged twice for the blue kettle", "another thing altogether"]
    train = [Example(row=n, input=text, output="a", place="train") for n, text in enumerate(texts, start=1)]
    asked = ["where  IS it", "A new one", "broken", "I was charged twice for the blue kettle!"]
    test = [Example(row=n, input=text, output="a", place="test") for n, text in enumerate(asked, start=7)]
    subject = replace(subject_of(PLAIN), examples=(*train, *test))
    [finding] = train_and_test(subject)
    assert (finding.rows, finding.severity) == ((1, 3), "warning")
    assert "2 rows outside the test" in finding.text and "50.0%" in finding.text
    assert finding.fix and finding.fix.action == "drop_rows"
    assert list(train_and_test(replace(subject, examples=tuple(train)))) == []
    assert list(train_and_test(replace(subject, examples=(*train[1:2], *test)))) == []


def test_in_a_large_file_only_the_very_same_input_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject_module, "SAMPLE", 3)
    texts = [("where is it", "train"), ("I was charged twice for the blue kettle", "train"), ("Where is it", "test")]
    texts.append(("I was charged twice for the blue kettle!", "test"))
    rows = [Example(row=n, input=text, output="a", place=place) for n, (text, place) in enumerate(texts, start=1)]
    [finding] = train_and_test(replace(subject_of(PLAIN), examples=tuple(rows)))
    assert finding.rows == (1,) and finding.sampled
