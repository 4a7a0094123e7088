"""Dividing rows: fairly, the same every time, and so that no answer is known from training."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import combinations

import pytest
from pydantic import ValidationError

from trainers.data import Example, normal
from trainers.splits import Place, Shares, Splits, split


def parts(splits: Splits) -> dict[str, tuple[Example, ...]]:
    return {name: getattr(splits, name) for name in ("train", "dev", "test", "arena")}


def where(splits: Splits) -> dict[int, str]:
    """The split of each row; rows in none are "left_out"."""
    placed = {e.row: name for name, part in splits.parts() for e in part}
    return placed | {e.row: "left_out" for e in splits.left_out}


def examples_of(**counts: int) -> list[Example]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [Example(row=i, input=f"input {i}", output=label) for i, label in enumerate(labels, start=1)]


def test_a_split_is_seeded() -> None:
    examples = examples_of(a=60, b=40)
    assert split(examples, Shares(), 7) == split(examples, Shares(), 7)
    assert split(examples, Shares(), 7) != split(examples, Shares(), 8)


@pytest.mark.parametrize(
    "counts", [{"a": 62, "b": 56, "c": 54, "d": 48, "e": 46, "f": 34}, {"a": 90, "b": 10}, {"a": 7}]
)
def test_shares_hold_within_and_across_labels(counts: dict[str, int]) -> None:
    examples, shares = examples_of(**counts), Shares()
    divided = parts(split(examples, shares, 0))
    assert sorted(e.row for part in divided.values() for e in part) == [e.row for e in examples], "all, each once"
    for name, share in shares.model_dump().items():
        assert len(divided[name]) == pytest.approx(share * len(examples), abs=1)
        for label, count in counts.items():
            here = Counter(e.output for e in divided[name])[label]
            assert here == pytest.approx(share * count, abs=2), f"{label} in {name}"


def test_rows_with_the_same_input_never_straddle_two_splits() -> None:
    said = [f"Question {i % 40}" for i in range(200)]
    shown = [text.upper() if i % 3 else f"  {text}\n" for i, text in enumerate(said)]
    examples = [Example(row=i, input=text, output=str(i % 2)) for i, text in enumerate(shown)]
    inputs = [{normal(e.input) for e in part} for part in parts(split(examples, Shares(), 3)).values()]
    assert all(inputs)
    assert sum(len(part) for part in inputs) == len(set.union(*inputs)) == 40


def test_training_rows_are_in_random_order_so_that_a_prefix_is_a_fair_sample() -> None:
    train = split(examples_of(a=100, b=100), Shares(), 0).train
    assert 20 <= Counter(e.output for e in train[:60])["a"] <= 40


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [
        (Shares(train=1, dev=0, test=0, arena=0), (50, 0, 0, 0)),
        (Shares(train=0.8, dev=0, test=0.2, arena=0), (40, 0, 10, 0)),
    ],
)
def test_a_share_of_zero_gets_nothing(shares: Shares, sizes: tuple[int, ...]) -> None:
    assert tuple(len(part) for part in parts(split(examples_of(a=25, b=25), shares, 0)).values()) == sizes


@pytest.mark.parametrize(
    "shares",
    [
        {"train": 0.5, "dev": 0.1, "test": 0.1, "arena": 0.1},
        {"train": 1.1, "dev": -0.1, "test": 0, "arena": 0},
        {"train": 0, "dev": 0, "test": 1, "arena": 0},
    ],
)
def test_shares_that_do_not_add_up_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="sum to 1"):
        Shares.model_validate(shares)


_WORDS = re.findall(
    r"\w+", "parcel lost invoice account locked password refund battery screen delivery late twice card wrong size"
)


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(_WORDS, k=12)) for _ in range(count)]


def test_near_duplicates_never_straddle_two_splits() -> None:
    texts = [variant for text in sentences(150) for variant in (text, f"{text} !", f"{text} please")]
    examples = [Example(row=i, input=text, output="ab"[i % 2]) for i, text in enumerate(texts, start=1)]
    divided = split(examples, Shares(), 0)
    assert not divided.left_out
    for (_, one), (_, other) in combinations(divided.parts(), 2):
        theirs = {" ".join(e.input.split()[:12]) for e in other}
        assert not [e for e in one if " ".join(e.input.split()[:12]) in theirs]
    assert {name: len(part) for name, part in divided.parts()} == {"train": 270, "dev": 45, "test": 111, "arena": 24}


def test_rows_of_one_template_are_divided_all_the_same() -> None:
    rows = [
        Example(row=n, input=f"Your order {n:04} was sent from our store in Hamburg", output="ab"[n % 2])
        for n in range(100)
    ]
    rows += [Example(row=1000 + e.row, input=e.input.upper(), output=e.output) for e in rows]
    divided = split(rows, Shares(), 0)
    assert {name: len(part) for name, part in divided.parts()} == {"train": 120, "dev": 20, "test": 50, "arena": 10}
    places = where(divided)
    assert all(places[n] == places[1000 + n] for n in range(100)), "the same input still stays together"


def test_a_change_moves_no_row_to_another_split() -> None:
    texts = sentences(200)
    rows = [Example(row=i, input=text, output="abc"[i % 3]) for i, text in enumerate(texts, start=1)]
    before = where(split(rows, Shares(), 0))
    mended = [Example(row=e.row, input="masked", output="c") for e in rows if e.row % 7]
    after = where(split(mended, Shares(), 0, drawn_from=[rows]))
    assert after == {row: place for row, place in before.items() if row % 7}


def test_rows_that_come_later_move_none_and_follow_their_twins() -> None:
    texts, fresh = sentences(200), sentences(40, seed=1)
    rows = [Example(row=i, input=text, output="abc"[i % 3]) for i, text in enumerate(texts, start=1)]
    before = where(split(rows, Shares(), 0))
    twins = [Example(row=1000 + e.row, input=f"{e.input}?", output=e.output, origin="typed") for e in rows]
    others = [Example(row=2000 + i, input=text, output="a", origin="typed") for i, text in enumerate(fresh)]
    after = where(split([*rows, *twins, *others], Shares(), 0, drawn_from=[rows, [*twins, *others]]))
    assert before.items() <= after.items()
    assert all(after[1000 + row] == place for row, place in before.items())
    assert set(Counter(after[e.row] for e in others)) == {"train", "dev", "test", "arena"}


def test_written_rows_are_only_trained_on_and_never_near_a_test_row() -> None:
    texts, fresh = sentences(100), sentences(30, seed=1)
    rows = [Example(row=i, input=text, output="ab"[i % 2]) for i, text in enumerate(texts, start=1)]
    before = where(split(rows, Shares(), 0))
    copies = [Example(row=1000 + e.row, input=f"{e.input}!", output=e.output, origin="written") for e in rows]
    own = [Example(row=2000 + i, input=text, output="a", origin="written") for i, text in enumerate(fresh)]
    after = where(split([*rows, *copies, *own], Shares(), 0, drawn_from=[rows, [*copies, *own]]))
    assert {after[e.row] for e in own} == {"train"}
    for row, place in before.items():
        assert after[1000 + row] == ("train" if place == "train" else "left_out")


def test_a_later_row_between_a_training_row_and_a_test_row_stands_in_no_split() -> None:
    base = "the parcel was delivered to the wrong address and nobody answers my letters about it since monday"
    one, two = f"{base} morning in june", f"evening so sad {base}"
    filler = [Example(row=i, input=text, output="a") for i, text in enumerate(sentences(60), start=10)]
    rows = [Example(row=1, input=one, output="a"), Example(row=2, input=two, output="a"), *filler]
    seeds = (s for s in range(50) if (lambda w: {w[1], w[2]} == {"train", "test"})(where(split(rows, Shares(), s))))
    seed = next(seeds)
    between = Example(row=99, input=base, output="a", origin="typed")
    assert where(split([*rows, between], Shares(), seed, drawn_from=[rows, [between]]))[99] == "left_out"


def test_what_the_data_says_of_its_splits_is_kept() -> None:
    texts = sentences(120)
    named = ["train"] * 80 + ["test"] * 30 + ["dev"] * 10
    pairs = enumerate(zip(texts, named, strict=True), start=1)
    rows = [Example(row=i, input=text, output="ab"[i % 2], place=place) for i, (text, place) in pairs]
    divided = split(rows, Shares(), 0)
    assert {e.row for e in divided.test} == set(range(81, 111))
    assert {e.row for e in divided.dev} == set(range(111, 121))
    assert len(divided.train) + len(divided.arena) == 80
    assert len(divided.arena) == pytest.approx(0.05 * 80, abs=2)


def test_a_training_row_with_a_twin_in_the_named_test_is_left_out() -> None:
    texts = sentences(60)
    rows = [Example(row=i, input=t, output="a", place="train" if i <= 40 else "test") for i, t in enumerate(texts, 1)]
    twins = [Example(row=100 + i, input=f"{texts[i]}!", output="a", place="train") for i in range(45, 50)]
    divided = split([*rows, *twins], Shares(), 0)
    assert {e.row for e in divided.left_out} == {e.row for e in twins}
    assert len(divided.test) == 20


def test_a_named_test_from_the_same_template_leaves_something_to_train_on() -> None:
    text = "Your order {:04} was sent from our store in Hamburg"
    rows = [Example(row=n, input=text.format(n), output="a", place="train") for n in range(100)]
    test = [Example(row=500 + n, input=text.format(n + 90).upper(), output="a", place="test") for n in range(30)]
    divided = split([*rows, *test], Shares(), 0)
    assert {e.row for e in divided.left_out} == set(range(90, 100)), "what the test asks word for word"
    assert len(divided.test) == 30 and len(divided.train) + len(divided.dev) + len(divided.arena) == 90


def test_rows_without_an_answer_have_their_place_before_they_get_one() -> None:
    texts = sentences(100)
    rows = [Example(row=i, input=t, output="ab"[i % 2] if i <= 50 else "") for i, t in enumerate(texts, start=1)]
    answered = [Example(row=e.row, input=e.input, output=e.output or "b") for e in rows]
    some = [e for e in answered if e.row <= 70]
    whole = where(split(answered, Shares(), 0, drawn_from=[rows]))
    assert where(split(some, Shares(), 0, drawn_from=[rows])) == {e.row: whole[e.row] for e in some}
    places: set[Place | str] = {whole[row] for row in range(51, 101)}
    assert places == {"train", "dev", "test", "arena"}
