"""Choosing solved examples."""

from __future__ import annotations

import pytest

from prompts.demonstrations import by_worth, choose, orders, sets, varied
from prompts.versions import Demonstration

LABELLED = tuple(
    Demonstration(input=f"{word} question number {n}", output=label)
    for n in range(10)
    for word, label in (("invoice", "billing"), ("parcel", "delivery"), ("crash", "technical"), ("refund", "returns"))
)
FREE = tuple(Demonstration(input=f"text {n} {'long ' * (n % 5)}", output=f"answer {n}") for n in range(30))


def test_of_labels_every_set_has_one_each() -> None:
    found = sets(LABELLED)
    assert len(found) >= 3
    for way, shown in found.items():
        assert sorted(d.output for d in shown) == ["billing", "delivery", "returns", "technical"], way
        assert set(shown) <= set(LABELLED)


def test_free_answers_get_four_and_eight() -> None:
    assert {len(shown) for shown in sets(FREE).values()} == {4, 8}


def test_ways_differ_and_are_the_same_again() -> None:
    assert sets(LABELLED, 3) == sets(LABELLED, 3)
    assert len(set(sets(LABELLED).values())) == len(sets(LABELLED))


@pytest.mark.parametrize("rows", [(), FREE[:1], FREE[:3]])
def test_few_rows_are_no_error(rows: tuple[Demonstration, ...]) -> None:
    assert all(len(shown) <= len(rows) for shown in sets(rows).values())


def test_long_examples_are_left_out_where_there_are_others() -> None:
    long = Demonstration(input="x" * 5000, output="billing")
    assert all(long not in shown for shown in sets((*LABELLED, long)).values())
    assert sets((long,))


def test_diverse_examples_are_far_apart_and_typical_ones_are_not() -> None:
    rows = tuple(Demonstration(input=f"the same words again {n}", output=str(n)) for n in range(12))
    odd = Demonstration(input="zebra quartz jumping over vexed fjords", output="odd")
    found = sets((*rows, odd))
    assert odd in found["4 diverse examples"]


def test_a_varied_set_keeps_most_and_its_labels() -> None:
    shown = choose(LABELLED, 8)
    after = varied(shown, LABELLED, 1)
    assert [d.output for d in after] == [d.output for d in shown]
    assert sum(a != b for a, b in zip(shown, after, strict=True)) == 2


def test_orders_have_the_same_examples() -> None:
    shown = choose(FREE, 4)
    for way, order in orders(shown).items():
        assert order != shown and sorted(order, key=str) == sorted(shown, key=str), way


def test_worth_decides_within_each_label() -> None:
    worth = {row: float(row.input.endswith("7")) for row in LABELLED}
    best = by_worth(LABELLED, worth, 4)
    assert {d.output for d in best} == {"billing", "delivery", "technical", "returns"}
    assert all(d.input.endswith("7") for d in best)
    assert len(by_worth(LABELLED, {}, 4)) == 4
