"""Test inputs in other words: what is sent, what is refused, and that nothing is sent without an endpoint."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from assistant.paraphrasing import fault, paraphrases, said
from prompts.chat_model import Message
from prompts.errors import EngineError
from tests.fakes import ScriptedModel
from trainers.data import Example

ROWS = [Example(row=n, input=f"Where is my parcel number {n}?", output=("track", "late")[n % 2]) for n in range(12)]


def reworded(chat: Sequence[Message]) -> str:
    return chat[-1].content.replace("Where is my parcel", "I cannot find the parcel")


def test_without_an_endpoint_nothing_comes_back() -> None:
    assert paraphrases(None, ROWS) == {}


def test_each_row_is_said_in_other_words_without_its_answer_being_sent() -> None:
    model = ScriptedModel(answer=reworded)
    told: list[tuple[int, int]] = []
    found = paraphrases(model, ROWS, on_progress=lambda done, total: told.append((done, total)))
    assert found == {n: f"I cannot find the parcel number {n}?" for n in range(12)}
    assert told[-1] == (12, 12)
    assert not any("track" in turn.content or "late" in turn.content for chat in model.heard for turn in chat)


def test_the_rows_are_a_seeded_sample_and_long_ones_are_not_sent() -> None:
    rows = [*ROWS, Example(row=99, input="long " * 1000, output="late")]
    first, again, other = (
        set(paraphrases(ScriptedModel(answer=reworded), rows, most=5, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(first) == 5
    model = ScriptedModel(answer=reworded)
    paraphrases(model, rows)
    assert len(model.heard) == 12


def test_bad_ones_are_left_out() -> None:
    def careless(chat: Sequence[Message]) -> str:
        return reworded(chat) if "number 3?" in chat[-1].content else "I cannot find the parcel number 77"

    assert paraphrases(ScriptedModel(answer=careless), ROWS) == {3: "I cannot find the parcel number 3?"}


def test_an_endpoint_that_fails_at_once_says_so() -> None:
    model = ScriptedModel(fails_at=0, error=EngineError("It is gone."))
    with pytest.raises(EngineError, match="It is gone"):
        paraphrases(model, ROWS)


def test_what_came_before_a_failure_is_kept() -> None:
    def tired(chat: Sequence[Message]) -> str:
        if "number 7?" in chat[-1].content:
            raise EngineError("It is tired.")
        return reworded(chat)

    assert set(range(4)) <= set(paraphrases(ScriptedModel(answer=tired), ROWS)) <= set(range(12)) - {7}


TEXT = "Please tell Anna Smith that order 4711 goes to {{Street}} on Monday."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Let Anna Smith know: on Monday order 4711 is sent to {{Street}}.", ""),
        ("", "empty"),
        ("...", "empty"),
        ("please tell Anna Smith that order 4711 goes to {{Street}} on Monday", "the same"),
        ("Tell her.", "another length"),
        ("Let Anna Smith know: on Monday order 4711 is sent to {{Street}}. " * 4, "another length"),
        ("Let Anna Smith know: on Monday order 4712 is sent to {{Street}}.", "a number"),
        ("Let Anna know: on Monday order 4711 is sent to {{Street}}.", "a name"),
        ("Let Anna Smith know: on Monday order 4711 is sent to her street.", "a name"),
        ("Let Anna Smith know: on Monday order 4711 is a delivery to {{Street}}.", "an answer"),
        ("Sagen Sie Anna Smith bitte, dass Bestellung 4711 am Monday nach {{Street}} geht.", "language"),
    ],
)
def test_what_is_wrong_with_a_paraphrase(text: str, expected: str) -> None:
    row = Example(row=1, input=TEXT, output="shipping")
    assert fault(row, text, ("shipping", "delivery")) == expected
    assert fault(row, text, cut=True) == "cut off"


def test_what_is_to_be_found_in_the_text_must_still_stand_there() -> None:
    row = Example(
        row=1, input="book a table at the old mill for four", output='{"place": "old mill", "people": "four"}'
    )
    assert fault(row, "reserve us a table for four, the old mill please") == ""
    assert fault(row, "reserve us a table for four at the ancient mill") == "an answer"


@pytest.mark.parametrize(
    "text",
    [
        "i said I'd come and I'm late again",
        "WHERE IS MY ORDER NOW",
        "где мой заказ, скажите",
        "bitte sagen Sie mir, wo denn nun das Paket geblieben ist",
    ],
)
def test_what_is_no_name_need_not_be_kept(text: str) -> None:
    assert fault(Example(row=1, input=text, output="x"), text[::-1]) != "a name"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('"Where is it?"', "Where is it?"),
        ("<think>hm</think>\n<text>Where is it?</text>", "Where is it?"),
        ('"One" and "two"', '"One" and "two"'),
        ("  plain ", "plain"),
    ],
)
def test_only_the_text_of_a_reply_counts(reply: str, expected: str) -> None:
    assert said(reply) == expected
