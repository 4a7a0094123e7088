"""Blind rounds: what differs, what gives a model away, which pairs are drawn, and where each side stands."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from assistant.arena.asking import Arm, Pane
from assistant.arena.blind import Judged, Round, as_vote, judged_in, prepare, round_of, second_opinion, two_of
from assistant.arena.differences import disagreement, marked, names_itself
from assistant.arena.table import BatchTable, Cell, tabulate
from assistant.votes import ME, ArmAnswer, Vote
from prompts.chat_model import Sampling
from prompts.errors import RunError
from prompts.versions import PromptVersion
from tests.fakes import ScriptedModel
from trainers.data import Example, normal

PROMPT = PromptVersion()
SAMPLING = Sampling(max_tokens=9)
# 400 fair coins fall outside of 155 to 245 less than once in 100,000 times.
FAIR = range(155, 246)


def said(arm: str, text: str) -> ArmAnswer:
    return ArmAnswer(title=arm.upper(), model=arm, prompt_id=PROMPT.id, text=text)


def table(texts: Sequence[Sequence[str]], arms: str = "ab", failed: Sequence[tuple[int, int]] = ()) -> BatchTable:
    """Row n has the input "in n" and one text of each arm; `failed` are (row, arm), both from 0."""
    rows = [Example(row=n, input=f"in {n}", output="") for n in range(len(texts))]
    cells = [
        {row.input: Cell(said(arm, texts[n][a]), "gone" if (n, a) in failed else "") for n, row in enumerate(rows)}
        for a, arm in enumerate(arms)
    ]
    sides = [Arm(arm.upper(), ScriptedModel(arm), PROMPT) for arm in arms]
    return tabulate(sides, rows, cells, sampling=SAMPLING)


def different(rows: int, arms: str = "ab") -> BatchTable:
    return table([[f"{arm} says {n}" for arm in arms] for n in range(rows)], arms)


def arms_of(drawn: Round) -> str:
    return "".join(sorted((drawn.left.model, drawn.right.model)))


# What differs


def shown(texts: Sequence[str]) -> list[list[str]]:
    for text, segments in zip(texts, marked(texts), strict=True):
        assert "".join(segment.text for segment in segments) == text
        assert {segment.kind for segment in segments} <= {"same", "added"}
    return [[s.text for s in segments if s.kind == "added"] for segments in marked(texts)]


@pytest.mark.parametrize(
    ("texts", "apart"),
    [
        (("Yes, the cat sat.", "Yes, a cat sat down."), [["the"], ["a", " down"]]),
        (("same words", "same words"), [[], []]),
        (("", "all new"), [[], ["all new"]]),
        (("alone",), [[]]),
        ((), []),
        (("it is red", "it is blue", "it is red"), [["red"], ["blue"], ["red"]]),
        (("a b c", "a b x", "a b c", "a z c"), [["b", "c"], ["b", "x"], ["b", "c"], ["z", "c"]]),
        (("我喜欢猫", "我喜欢狗"), [["猫"], ["狗"]]),
    ],
)  # fmt: skip
def test_what_not_all_answers_have_is_marked(texts: Sequence[str], apart: list[list[str]]) -> None:
    assert shown(texts) == apart


def test_long_answers_are_compared_in_no_time() -> None:
    long = " ".join(f"word{n % 700}" for n in range(6000))
    assert shown([long, f"{long} end"]) == [[], [" end"]]


@pytest.mark.parametrize(
    ("texts", "value"),
    [
        (("same", "same"), 0.0),
        (("Same  words\n", "same words"), 0.0),
        (("one two", "three four"), 1.0),
        (("", ""), 0.0),
        (("", "x"), 1.0),
        (("a b", "a c"), 1 - 2 * 1 / 6),
        (("A beats B", "B beats A"), 1 - 2 * 3 / 10),
        (("x y", "x y", "p q"), 2 / 3),
        (("Yes", "Yes."), 1 - 2 * 1 / 4),
        (("one",), 0.0),
        ((), 0.0),
    ],
)
def test_how_far_answers_are_apart(texts: Sequence[str], value: float) -> None:
    assert disagreement(texts) == pytest.approx(value)
    assert disagreement(texts[::-1]) == pytest.approx(value)


# What gives a model away

NAMES = (
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "Qwen2.5-0.5B-Instruct",
    "Base",
    "Tuned",
    "LoRA",
    "tickets-0712-a3f9",
    "r8",
)


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("I am SmolLM2, made to help.", "SmolLM2"),
        ("As smollm2-135m-instruct I would say no.", "smollm2-135m-instruct"),
        ("Qwen 2.5 is glad to help.", "Qwen 2.5"),
        ("I'm Qwen, by Alibaba Cloud.", "Qwen"),
        ("You are talking to tickets-0712-a3f9.", "tickets-0712-a3f9"),
        ("Well, I am the base model here.", "I am the base model"),
        ("I'm the LoRA version.", "I'm the LoRA version"),
        ("Ich bin das Base-Modell.", "Ich bin das Base-Modell"),
        ("As the tuned model, I say yes.", "As the tuned model, I"),
        ("As an AI model trained by OpenAI, I cannot.", "As an AI model trained by OpenAI"),
        ("I am a large language model, developed by Google.", "I am a large language model, developed by Google"),
        ("It says so in my fine-tuning.", "my fine-tuning"),
        ("I was fine-tuned on tickets.", "I was fine-tuned"),
        ("I was trained by Hugging Face.", "I was trained by Hugging Face"),
    ],
)
def test_a_reply_that_tells_who_it_is(text: str, piece: str) -> None:
    assert names_itself(text, NAMES) == piece


@pytest.mark.parametrize(
    "text",
    [
        "The base camp is at 5,000 m, and the base of it all is tea.",
        "Lora Miller called. I am Lora, she said.",
        "The engine is finely tuned. Stay tuned!",
        "The base model of this car costs 20,000 euros.",
        "Your tickets are booked for 07-12; we instruct them. 135M people live there.",
        "As an AI language model I cannot do that.",
        "As an assistant in a shop I was trained by my father.",
        "My training for the marathon begins in r8.",
        "SmolLM2x is no word.",
        "",
    ],
)
def test_harmless_lookalikes(text: str) -> None:
    assert names_itself(text, NAMES) == ""


def test_without_names_only_what_a_model_says_of_itself_tells() -> None:
    assert names_itself("Hello, I am SmolLM.", ()) == "I am SmolLM"
    assert names_itself("a helpful assistant named SmolLM, trained by Hugging Face", ()) == "named SmolLM"
    assert names_itself("SmolLM2 is a model of Hugging Face.", ()) == ""


def test_a_name_that_is_also_a_word_only_tells_after_i_am() -> None:
    names = ("Llama-3.2-1B", "tickets", "ticket triage")
    assert names_itself("¿Cómo se llama? A ticket triage of tickets.", names) == ""
    assert names_itself("Soy Llama, un modelo.", names) == "Soy Llama"
    assert names_itself("llama 3.2 1B", names) == "llama 3.2 1B"


def test_a_name_that_the_message_has_is_no_giveaway_but_i_am_is() -> None:
    asked = "Are you Qwen2.5 or SmolLM2?"
    assert names_itself("Qwen2.5 and SmolLM2 are models.", NAMES, asked) == ""
    assert names_itself("I am Qwen2.5.", NAMES, asked) == "I am Qwen2.5"


@pytest.mark.parametrize("names", [("...", "--", "a", "12", "", " "), ("(x+", "[abc", "c++11")])
def test_odd_names_harm_nothing(names: Sequence[str]) -> None:
    assert names_itself("A plain (answer) ... 12 -- a.", names) == ""


# Which rounds there are


def test_every_input_is_a_round_the_most_different_first() -> None:
    texts = [("a b c d", "a b c x"), ("a b", "c d"), ("same", " Same\n"), ("a b c", "a x y")]
    prepared = prepare(table(texts), seed=1)
    assert [drawn.message for drawn in prepared.rounds] == ["in 1", "in 3", "in 0"]
    assert (prepared.alike, prepared.failed, prepared.judged) == (1, 0, 0)
    assert prepared.told == "1 of 4 answered alike; nothing to judge there."
    assert prepared.rounds[0].sampling == SAMPLING
    assert not prepared.rounds[0].typed


def test_failed_and_judged_ones_are_left_out_and_counted() -> None:
    rows = different(6)
    broken = table([[cell.answer.text for cell in row.cells] for row in rows.rows], failed=[(0, 1), (1, 0)])
    arms = frozenset(cell.answer.arm for cell in rows.rows[0].cells)
    judged: set[Judged] = {(normal("IN  2"), arms), ("in 3", frozenset({"others", "two"})), ("elsewhere", arms)}
    prepared = prepare(broken, judged, seed=1)
    assert {drawn.message for drawn in prepared.rounds} == {"in 3", "in 4", "in 5"}
    assert (prepared.failed, prepared.judged) == (2, 1)
    assert prepared.told == "2 of 6 lack an answer. 1 of 6 are judged already."


def test_nothing_to_judge_is_no_error() -> None:
    assert prepare(table([("x", "x")])).rounds == ()
    assert prepare(different(3, "a")).rounds == ()
    assert prepare(table([])).told == ""


def test_a_row_that_is_there_twice_is_judged_once() -> None:
    rows = different(2)
    assert len(prepare(replace(rows, rows=rows.rows * 2)).rounds) == 2


def test_equals_come_in_an_order_of_the_seed() -> None:
    rows = different(30)
    orders = [[drawn.message for drawn in prepare(rows, seed=seed).rounds] for seed in (1, 2, 3)]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert [row.input for row in rows.rows] not in orders


def test_the_same_seed_draws_the_same_and_none_draws_anew() -> None:
    rows = different(40, "abc")
    assert prepare(rows, seed=5) == prepare(rows, seed=5)
    assert prepare(rows, seed=5) != prepare(rows, seed=6)
    assert prepare(rows) != prepare(rows)


@pytest.mark.parametrize("seed", range(5))
def test_sides_are_balanced_and_do_not_tell_the_next(seed: int) -> None:
    left = [drawn.left.model == "a" for drawn in prepare(different(400), seed=seed).rounds]
    assert left.count(True) in FAIR
    again = [one == next_one for one, next_one in itertools.pairwise(left)]
    assert again.count(True) in FAIR, "an arm that changed sides in turn could be told by counting"


def test_sides_do_not_follow_from_how_much_the_answers_differ() -> None:
    texts = [(f"{'w ' * (n % 7)}a{n}", f"{'w ' * (n % 7)}b{n}") for n in range(800)]
    left = [drawn.left.model == "a" for drawn in prepare(table(texts), seed=3).rounds]
    assert left[:400].count(True) in FAIR and left[400:].count(True) in FAIR


@pytest.mark.parametrize("arms", ["abc", "abcd"])
@pytest.mark.parametrize("stopped_after", [7, 30, 61])
def test_wherever_a_person_stops_each_pair_was_judged_as_often(arms: str, stopped_after: int) -> None:
    texts = [[" ".join(["w"] * (a * n % 5) + [f"{arm}{n}"]) for a, arm in enumerate(arms)] for n in range(30)]
    rounds = prepare(table(texts, arms), seed=2).rounds
    pairs = list(itertools.combinations(arms, 2))
    assert Counter(map(arms_of, rounds)) == {"".join(pair): 30 for pair in pairs}
    counts = Counter(arms_of(drawn) for drawn in rounds[:stopped_after])
    seen = [counts["".join(pair)] for pair in pairs]
    assert max(seen) - min(seen) <= 1


def test_within_a_pair_of_three_arms_the_most_different_come_first_too() -> None:
    texts = [["a b c", " ".join(["a", "b", "c"][: n % 4]) + " x", f"y{n} b"] for n in range(12)]
    rounds = prepare(table(texts, "abc"), seed=2).rounds
    for pair in ("ab", "ac", "bc"):
        apart = [disagreement([one.left.text, one.right.text]) for one in rounds if arms_of(one) == pair]
        assert apart == sorted(apart, reverse=True)


def test_pairs_with_few_verdicts_catch_up() -> None:
    rows = different(20, "abc")
    arm = {cell.answer.model: cell.answer.arm for cell in rows.rows[0].cells}
    judged = {(f"in {n}", frozenset((arm["a"], arm["b"]))) for n in range(8)}
    rounds = prepare(rows, judged, seed=2).rounds
    counts = Counter(map(arms_of, rounds[:16]))
    assert counts == {"ac": 8, "bc": 8}
    assert {arms_of(drawn) for drawn in rounds[16:19]} == {"ab", "ac", "bc"}


# A round and its vote


def test_the_id_is_the_pairs_whoever_stands_left() -> None:
    left, right = said("a", "one"), said("b", "two")
    id = Round("hi", left, right).id
    assert id == Round("hi", right, left, typed=True).id
    assert id == Round("hi", left.model_copy(update={"title": "renamed", "seconds": 3.0}), right).id
    others = [
        Round("ho", left, right),
        Round("hi", said("a", "two"), said("b", "one")),
        Round("hi", left, said("b", "3")),
    ]
    assert len({id, *(other.id for other in others)}) == 4
    rows = different(20)
    first, second = (prepare(rows, seed=seed).rounds for seed in (1, 2))
    assert {drawn.id for drawn in first} == {drawn.id for drawn in second}
    assert {(d.id, d.left.model) for d in first} != {(d.id, d.left.model) for d in second}


def test_a_verdict_becomes_a_vote() -> None:
    drawn = Round("hi", said("mod", "I am Mod."), said("other", "fine"), sampling=SAMPLING, engine="embedded")
    vote = as_vote(drawn, "right", "Jo", "shorter", "finer")
    assert (vote.round, vote.message, vote.verdict, vote.voter) == (drawn.id, "hi", "right", "Jo")
    assert (vote.reason, vote.edited, vote.blind, vote.typed) == ("shorter", "finer", True, False)
    assert vote.answers == (drawn.left, drawn.right) and vote.winner == drawn.right
    assert (vote.sampling, vote.engine) == (SAMPLING, "embedded")
    assert vote.flagged == ("left",)
    given = as_vote(drawn, "tie", sampling=Sampling(), engine="vLLM", typed=True)
    assert (given.voter, given.sampling, given.engine, given.typed) == (ME, Sampling(), "vLLM", True)


@pytest.mark.parametrize(
    ("left", "right", "flagged"),
    [
        ("plain", "plain too", ()),
        ("plain", "SmolLM2 speaking", ("right",)),
        ("I am the tuned model", "as run-77 I", ("left", "right")),
        ("the base of it", "stay tuned", ()),
    ],
)
def test_an_answer_that_gives_itself_away_is_flagged(left: str, right: str, flagged: tuple[str, ...]) -> None:
    base = ArmAnswer(title="Base", model="SmolLM2-135M", prompt_id="p", text=left)
    tuned = ArmAnswer(title="Tuned", model="run-77", parent="SmolLM2-135M", digest="d", prompt_id="p", text=right)
    assert as_vote(Round("hi", base, tuned), "tie").flagged == flagged


# Live


def pane(name: str, text: str = "", *, error: str = "", done: bool = True) -> Pane:
    return Pane(Arm(name, ScriptedModel(name), PROMPT), model=name, text=text or name, error=error, done=done)


def test_two_of_the_panes_make_a_round() -> None:
    panes = [pane(name) for name in "abc"]
    rounds = [round_of("hi", panes, seed, sampling=SAMPLING, engine="e") for seed in range(400)]
    assert {(drawn.typed, drawn.sampling, drawn.engine, drawn.message) for drawn in rounds} == {
        (True, SAMPLING, "e", "hi")
    }
    counts = Counter(drawn.left.model + drawn.right.model for drawn in rounds)
    assert set(counts) == {"".join(pair) for pair in itertools.permutations("abc", 2)}
    assert min(counts.values()) > 35
    two = [round_of("hi", panes[:2], seed).left.model for seed in range(400)]
    assert two.count("a") in FAIR
    assert rounds[0].left == pane(rounds[0].left.model).answer()


@pytest.mark.parametrize("broken", [pane("b", error="gone"), pane("b", done=False)])
def test_what_failed_or_goes_on_is_not_judged(broken: Pane) -> None:
    with pytest.raises(RunError, match="no two answers"):
        round_of("hi", [pane("a"), broken])
    assert arms_of(round_of("hi", [pane("a"), broken, pane("c")])) == "ac"


def test_a_round_knows_that_there_is_nothing_to_judge() -> None:
    assert round_of("hi", [pane("a", "Yes "), pane("b", "yes")]).alike
    assert not round_of("hi", [pane("a", "yes"), pane("b", "no")]).alike


def test_two_are_drawn_before_they_are_asked() -> None:
    assert {two_of("abc", seed) for seed in range(100)} == set(itertools.permutations("abc", 2))
    assert len({two_of("ab") for _ in range(40)}) == 2
    with pytest.raises(RunError, match="two sides"):
        two_of("a")


# A second opinion


def votes_of(voters: Sequence[str], rows: int = 6) -> list[Vote]:
    rounds = prepare(different(rows), seed=1, engine="e").rounds
    return [as_vote(drawn, "left", voter) for voter in voters for drawn in rounds]


def test_what_others_judged_comes_again_with_sides_drawn_anew() -> None:
    votes = votes_of(["Ann"], 400)
    again = second_opinion(votes, "Bob", seed=4)
    by_round = {vote.round: vote for vote in votes}
    assert {drawn.id for drawn in again} == set(by_round)
    swapped = [drawn.left == by_round[drawn.id].answers[1] for drawn in again]
    assert swapped.count(True) in FAIR
    first = again[0]
    assert {first.left, first.right} == set(by_round[first.id].answers)
    assert (first.engine, first.sampling, first.typed) == ("e", SAMPLING, False)
    assert again == second_opinion(votes, "Bob", seed=4)
    assert again != second_opinion(votes, "Bob")


def test_nobody_is_asked_for_a_second_opinion_on_their_own() -> None:
    votes = votes_of(["Ann"])
    assert second_opinion(votes, " Ann ") == []
    bobs = [as_vote(drawn, "right", "Bob") for drawn in second_opinion(votes, "Bob")[:2]]
    assert {vote.round for vote in bobs} < {vote.round for vote in votes}, "so that the two can be compared"
    rest = second_opinion([*votes, *bobs], "Bob")
    assert len(rest) == 4
    order = [drawn.id for drawn in second_opinion([*votes, *bobs], "Cem")]
    assert set(order[-2:]) == {vote.round for vote in bobs}, "fewest opinions first"


def test_open_votes_and_other_counts_of_answers_are_no_second_opinion() -> None:
    [vote] = votes_of(["Ann"], 1)
    seen = vote.model_copy(update={"blind": False})
    three = vote.model_copy(update={"answers": (*vote.answers, vote.answers[0])})
    assert second_opinion([seen], "Bob") == second_opinion([three], "Bob") == []


def test_what_was_judged_is_known_from_the_votes() -> None:
    rows = different(6)
    votes = [as_vote(drawn, "tie", "Ann") for drawn in prepare(rows, seed=1).rounds[:4]]
    assert prepare(rows, judged_in(votes)).judged == 4
    assert prepare(rows, judged_in(votes, "Bob")).judged == 0
    assert prepare(rows, judged_in(votes, " Ann")).judged == 4
