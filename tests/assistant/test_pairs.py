"""What votes prove of answers, and the format that TRL takes it in."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.arena.pairs import Pair, as_trl, preference_pairs
from assistant.votes import ArmAnswer, Vote
from prompts.versions import Demonstration, PromptVersion

PROMPT = PromptVersion(system="Be short.", template="> {{ input }}")
OTHER = PromptVersion(system="Be polite.", demonstrations=(Demonstration(input="a", output="b"),))
KNOWN = {version.id: version for version in (PROMPT, OTHER)}


def side(text: str, prompt: PromptVersion = PROMPT, message: str = "why?", earlier: Any = ()) -> ArmAnswer:
    messages = tuple(prompt.messages(message, earlier))
    return ArmAnswer(model="m", prompt_id=prompt.id, text=text, messages=messages)


def vote(left: str | ArmAnswer, right: str | ArmAnswer, verdict: str = "left", **more: Any) -> Vote:
    message = more.pop("message", "why?")
    answers = [side(one, message=message) if isinstance(one, str) else one for one in (left, right)]
    return Vote.model_validate({"message": message, "answers": answers, "verdict": verdict, **more})


def told(*votes: Vote) -> list[tuple[str, str, str, int]]:
    return [(pair.chosen, pair.rejected, pair.how, pair.count) for pair in preference_pairs(votes)]


def test_the_preferred_side_is_chosen() -> None:
    first, second = vote("A", "B", "left"), vote("C", "D", "right", message="who?")
    assert preference_pairs([first, second]) == [
        Pair("why?", "A", "B", "vote", (first.id,), 1, tuple(PROMPT.messages("why?"))),
        Pair("who?", "D", "C", "vote", (second.id,), 1, tuple(PROMPT.messages("who?"))),
    ]


def test_ties_bad_answers_and_old_votes_of_one_side_prove_nothing() -> None:
    single = Vote(message="m", answers=(side("A"),), verdict="left", edited="better")
    assert told(vote("A", "B", "tie"), vote("A", "B", "both bad"), single) == []


def test_equal_and_empty_answers_are_no_pair() -> None:
    assert told(vote("Yes  it is", " yes it IS "), vote("", "B"), vote("A", " \n"), vote("A", "A", edited=" a ")) == []


@pytest.mark.parametrize(
    ("verdict", "edited", "expected"),
    [
        ("left", "E", [("A", "B", "vote", 1), ("E", "A", "edit", 1)]),
        ("right", "E", [("B", "A", "vote", 1), ("E", "B", "edit", 1)]),
        ("tie", "E", [("E", "A", "edit", 1), ("E", "B", "edit", 1)]),
        ("both bad", "E", [("E", "A", "edit", 1), ("E", "B", "edit", 1)]),
        ("both bad", "b", [("b", "A", "edit", 1)]),
        ("left", " a", [("A", "B", "vote", 1)]),
        ("left", "B", []),  # the edit takes back what the vote says
    ],
)
def test_an_edited_answer_is_better_than_the_one_that_it_replaces(
    verdict: str, edited: str, expected: list[tuple[str, str, str, int]]
) -> None:
    assert told(vote("A", "B", verdict, edited=edited)) == expected


def test_the_same_pair_is_there_once_with_all_votes_behind_it() -> None:
    votes = [
        vote("A", "B", voter="anna"),
        vote(" b", "a ", "right", message=" WHY? ", voter="ben"),
        vote("A", "B", message="another"),
    ]
    merged, other = preference_pairs(votes)
    assert (merged.chosen, merged.rejected, merged.input) == ("A", "B", "why?"), "worded as the first of them"
    assert (merged.votes, merged.count) == ((votes[0].id, votes[1].id), 2)
    assert (other.input, other.count) == ("another", 1)


def test_a_pair_that_somebody_voted_for_is_a_vote_whatever_was_edited() -> None:
    assert told(vote("B", "C", "both bad", edited="A"), vote("A", "B")) == [
        ("A", "B", "vote", 2),
        ("A", "C", "edit", 1),
    ]


@pytest.mark.parametrize(
    ("times", "contrary", "expected"),
    [(1, 1, []), (2, 2, []), (3, 1, [("A", "B", "vote", 2)]), (1, 3, [("B", "A", "vote", 2)])],
)
def test_contrary_votes_cancel_out(times: int, contrary: int, expected: list[tuple[str, str, str, int]]) -> None:
    votes = [vote("A", "B") for _ in range(times)] + [vote("B", "A") for _ in range(contrary)]
    assert told(*votes) == expected


def test_contrary_votes_on_other_messages_leave_each_other_alone() -> None:
    assert len(told(vote("A", "B", message="one"), vote("B", "A", message="two"))) == 2


def test_a_row_of_trl_has_the_chat_that_was_sent() -> None:
    [row] = as_trl(preference_pairs([vote("A", "B")]), OTHER)
    assert row == {
        "prompt": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "> why?"}],
        "chosen": [{"role": "assistant", "content": "A"}],
        "rejected": [{"role": "assistant", "content": "B"}],
    }


def test_sides_that_were_asked_differently_get_the_prompt_of_the_plan() -> None:
    mixed = vote(side("A", PROMPT), side("B", OTHER))
    nobody_kept_it = vote(ArmAnswer(model="m", prompt_id="p", text="A"), ArmAnswer(model="n", prompt_id="p", text="B"))
    for one in (mixed, nobody_kept_it):
        [row] = as_trl(preference_pairs([one], KNOWN), OTHER)
        assert row["prompt"] == [message.model_dump() for message in OTHER.messages("why?")]


def test_a_message_that_goes_on_with_a_chat_keeps_that_chat() -> None:
    chats = [[("is it so?", "yes")], [("is it so?", "no")]]
    votes = [vote(side("A", OTHER, earlier=chat), side("B", OTHER, earlier=chat)) for chat in (*chats, chats[0])]
    alone = vote(side("A", OTHER), side("B", OTHER))
    pairs = preference_pairs([*votes, alone], KNOWN)
    assert [(pair.follows, pair.count) for pair in pairs] == [(True, 2), (True, 1), (False, 1)]
    assert [turn["content"] for turn in as_trl(pairs, PROMPT)[1]["prompt"][-3:]] == ["is it so?", "no", "why?"]
    assert not any(pair.follows for pair in preference_pairs(votes)), "nothing tells without the prompts"


def test_trl_takes_the_rows() -> None:
    from datasets import Dataset
    from trl.data_utils import is_conversational

    rows = Dataset.from_list(as_trl(preference_pairs([vote("A", "B"), vote("C", "D", message="who?")]), PROMPT))
    assert rows.column_names == ["prompt", "chosen", "rejected"] and is_conversational(rows[0])
