"""Near-duplicates against all pairs worked out one by one, and the work that templates may cost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pytest

from trainers import near
from trainers.near import firsts, near_across, near_links

ASKED = (
    "why was my card declined at the {} in {}",
    "how long does a transfer of {} euros to {} take",
    "I lost my {} on the way to {}, please block it",
    "the exchange rate for {} looked wrong in {}",
    "can I top up with {} from an account in {}",
    "my statement shows a fee of {} that I do not know from {}",
)
FIRST = [
    "petrol station",
    "kettle",
    "phone",
    "purse",
    "twelve",
    "seventy",
    "cash",
    "cheque",
    "museum",
    "bakery",
    "dollars",
    "kroner",
    "savings",
]
SECOND = [
    "Vienna",
    "Oslo",
    "Lisbon",
    "Kathmandu",
    "Birmingham",
    "Ghent",
    "Turin",
    "Montevideo",
    "Reykjavik",
    "Brno",
    "Antananarivo",
]
EXTRA = [
    "today",
    "again",
    "yesterday evening",
    "as the app tells me",
    "since March",
    "which worries me",
    "for the third time",
]


@lru_cache(4096)
def runs(text: str) -> set[str]:
    return {text[i : i + 4] for i in range(len(text) - 3)}


def overlap(one: str, other: str) -> float:
    a, b = runs(one), runs(other)
    both = len(a & b)
    return both / (len(a) + len(b) - both)


def asked(count: int, seed: int = 0) -> list[str]:
    """Made questions, lower case, without punctuation; a fifth are an earlier one with a word or letter changed."""
    rng = random.Random(seed)
    texts: list[str] = []
    while len(texts) < count:
        if texts and rng.random() < 0.2:
            text = rng.choice(texts)
            at = rng.randrange(len(text))
            text = text[:at] + text[at + 1 :] if rng.random() < 0.5 else f"{text} pls"
        else:
            text = rng.choice(ASKED).format(rng.choice(FIRST), rng.choice(SECOND)).lower().replace(",", "")
            text = f"{text} {rng.choice(EXTRA)} {rng.choice(EXTRA)} {rng.randrange(10**6)}"
        texts.append(" ".join(text.split()))
    return texts


def grouped(links: list[tuple[int, int]], count: int) -> list[int]:
    first = firsts(links)
    return [first.get(n, n) for n in range(count)]


def test_links_connect_all_that_is_near_and_nothing_else() -> None:
    texts = asked(1500)
    pairs = {(a, b) for a, b in itertools.combinations(range(len(texts)), 2) if overlap(texts[a], texts[b]) >= 0.8}
    links = near_links(texts)
    assert len(pairs) > 300, "the planted ones"
    assert set(links) <= pairs
    assert grouped(links, len(texts)) == grouped(sorted(pairs), len(texts))
    groups = grouped(links, len(texts))
    assert len(links) == len(texts) - len(set(groups)), "a forest: one link less than texts in each group"


def test_a_chain_is_one_group_although_its_ends_differ() -> None:
    start = "where is the parcel with the new kettle that I ordered"
    chain = [start + "".join(f" {word}" for word in ("last", "week", "from", "you")[:n]) for n in range(5)]
    assert overlap(chain[0], chain[-1]) < 0.8
    assert set(grouped(near_links(chain[::-1]), 5)) == {0}


def test_case_punctuation_and_spacing_do_not_count() -> None:
    assert near_links(["Where is my parcel, please?", "an unrelated line of text", "WHERE is  my parcel please"]) == [
        (0, 2)
    ]


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [""],
        ["short one", "short one", "short one!"],
        ["", "...", "👍", "🎉"],
        ["x" * 19, "x" * 19],
        ["where is my parcel with the kettle", "when will the refund for it be here"],
    ],
)
def test_what_is_not_near(texts: list[str]) -> None:
    assert near_links(texts) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (
            "我的银行卡在商店里被拒绝了请告诉我应该怎么办谢谢你们的帮助",
            "我的银行卡在商店里被拒绝了请告诉我应该怎么办谢谢你们的帮忙",
            True,
        ),
        (
            "我的银行卡在商店里被拒绝了请告诉我应该怎么办谢谢你们",
            "请问如何更改我的密码以及绑定新的手机号码到这个账户里面",
            False,
        ),
        ("the parcel has arrived today 🎉🎉", "the parcel has arrived today", True),
        ("lone surrogate \ud83d in a long enough text", "lone surrogate \ud83d in a long enough text!", True),
    ],
)
def test_any_script(one: str, other: str, expected: bool) -> None:
    assert near_links([one, other]) == ([(0, 1)] if expected else [])


def document(seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdefghij", k=rng.randint(3, 8))) for _ in range(320)]


def test_documents_are_compared_by_three_words() -> None:
    words, others = document(1), document(2)
    changed = [*words[:100], "changed", *words[101:]]
    mixed = [b if n % 5 == 0 else a for n, (a, b) in enumerate(zip(words, others, strict=True))]
    texts = [" ".join(part)[:2000] for part in (words, others, changed, mixed)]
    assert near_links([*texts, texts[0][:450], "no spaces" + "x" * 600, "no spaces" + "x" * 600]) == [(0, 2), (5, 6)]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many exact comparisons there were."""
    counts: list[int] = []
    exact = near._overlaps

    def counting(ones: Sequence[str], others: Sequence[str], pairs: np.ndarray) -> np.ndarray:
        counts.append(len(pairs))
        return exact(ones, others, pairs)

    monkeypatch.setattr(near, "_overlaps", counting)
    return lambda: sum(counts)


def test_a_template_costs_few_comparisons_a_row(compared: Callable[[], int]) -> None:
    texts = [f"Your order {10_000 + n} has shipped and will arrive on Monday" for n in range(5000)]
    assert set(grouped(near_links(texts), len(texts))) == {0}
    assert 4999 <= compared() < 5 * len(texts), "of 12 million pairs"


def test_a_long_common_beginning_does_not_go_quadratic(compared: Callable[[], int]) -> None:
    rng = random.Random(0)
    begin = "You are the helpful assistant of a bank, and you answer every question kindly and briefly. Question: "
    near_links([begin + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=14)) for _ in range(2000)])
    assert 2000 < compared() < 100 * 2000, "of 2 million pairs, most of them too near for the sketches to tell"


def test_links_are_the_same_each_time() -> None:
    texts = asked(400, seed=3)
    assert near_links(texts) == near_links(texts)
    assert near_across(texts[:200], texts[200:]) == near_across(texts[:200], texts[200:])


def test_firsts_are_the_earliest_of_each_group() -> None:
    assert firsts([(4, 9), (1, 4), (2, 3)]) == {1: 1, 2: 2, 3: 2, 4: 1, 9: 1}
    assert firsts([]) == {}


def test_across_finds_every_near_row() -> None:
    texts = asked(1500, seed=1)
    first, second = texts[:1000], texts[1000:]
    expected = [(a, b) for a, x in enumerate(first) for b, y in enumerate(second) if overlap(x, y) >= 0.8]
    assert len(expected) > 100
    assert near_across(first, second) == expected


def test_across_short_texts_count_if_equal() -> None:
    assert near_across(["Thanks!", "no", "👍", "?"], ["thanks", "nope", "🎉", "..."]) == [(0, 0)]
    assert near_across([], ["thanks"]) == near_across(["thanks"], []) == []


def test_across_tells_no_more_than_twenty_a_row() -> None:
    old = [f"Your order {10_000 + n} has shipped and will arrive on Monday" for n in range(300)]
    pairs = near_across(old * 2, ["Your order 10150 has shipped and will arrive on Monday", "something else entirely"])
    assert len(pairs) == 20
    assert {(150, 0), (450, 0)} <= set(pairs), "the equal ones before the merely near"
