"""What people ask of a prompt in the chat, and what it does."""

from __future__ import annotations

from typing import Any

import pytest

from prompts.allowed import Allowed
from prompts.rewriting import Wish, rewritten, wishes_in
from prompts.versions import Demonstration, PromptVersion

LABELS = Allowed(choices=("billing", "other"))
PROMPT = PromptVersion(
    system="Please answer the customer's mail. Answer in English. Be polite. Be polite.",
    demonstrations=(Demonstration(input="a", output="b"),),
)


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        ("shorter", ["shorter"]),
        ("make it shorter please", ["shorter"]),
        ("kürzer", ["shorter"]),
        ("Please make the prompt shorter", ["shorter_prompt"]),
        ("make the prompt shorter and never mention refunds", ["shorter_prompt", "never"]),
        ("in German", ["language"]),
        ("answers in French, and friendlier", ["language", "friendly"]),
        ("auf Deutsch", ["language"]),
        ("réponds en espagnol", ["language"]),
        ("always JSON", ["json"]),
        ("always JSON with keys name, age", ["json"]),
        ("nothing but labels", ["held"]),
        ("constrain the answers", ["held"]),
        ("let it answer freely", ["free"]),
        ("without examples", ["no_examples"]),
        ("never promise refunds", ["never"]),
        ("niemals Rabatte versprechen", ["never"]),
        ("always mention the order number", ["always"]),
        ("start with a greeting", ["always"]),
        ("more formal", ["formal"]),
        ("say none where nothing fits", ["none"]),
        ("replace mail by letter", ["replace"]),
        ("remove the sentence about polite", ["remove"]),
        ("add: Sign as the support team.", ["add"]),
        ("what is LoRA?", []),
        ("I have 300 tickets and a GPU", []),
        ("measure it", []),
        ("never mind", []),
        ("I don't understand", []),
        ("don't worry", []),
        ("", []),
    ],
)
def test_wishes_are_told_from_other_messages(said: str, kinds: list[str]) -> None:
    assert [wish.kind for wish in wishes_in(said)] == kinds


@pytest.mark.parametrize(
    ("said", "system"),
    [
        ("in German", "Please answer the customer's mail. Be polite. Be polite. Answer in German."),
        ("make the prompt shorter", "Answer the customer's mail. Answer in English. Be polite."),
        ("never promise refunds", f"{PROMPT.system} Never promise refunds."),
        ("replace mail by letter", PROMPT.system.replace("mail", "letter")),
        ("remove the sentence about polite", "Please answer the customer's mail. Answer in English."),
        ("add: sign as the team", f"{PROMPT.system} Sign as the team."),
        ("shorter", f"{PROMPT.system} Answer in at most two sentences."),
        ("always JSON", f"{PROMPT.system} Answer with one JSON object, nothing else."),
    ],
)
def test_the_system_prompt_after_a_wish(said: str, system: str) -> None:
    fields, done = rewritten(PROMPT, wishes_in(said))
    assert fields["system"] == system
    assert len(done) == 1 and done[0]


def test_a_later_rule_takes_the_place_of_an_earlier_one() -> None:
    after, _ = rewritten(PROMPT, wishes_in("shorter"))
    again, _ = rewritten(PROMPT.revised(reason="", **after), wishes_in("longer"))
    assert "two sentences" not in again["system"] and again["system"].endswith("several sentences.")


@pytest.mark.parametrize(
    ("said", "field", "value"),
    [("nothing but labels", "allowed", LABELS), ("without examples", "demonstrations", ())],
)
def test_other_parts_of_a_version(said: str, field: str, value: Any) -> None:
    fields, _ = rewritten(PROMPT, wishes_in(said), LABELS)
    assert fields == {field: value}


def test_named_keys_are_what_answers_are_held_to() -> None:
    fields, _ = rewritten(PROMPT, wishes_in("always JSON with keys name, age"))
    assert list(fields["allowed"].schema_object["properties"]) == ["name", "age"]
    assert fields["system"].endswith("with the keys name, age, nothing else.")


def test_what_is_there_already_changes_nothing() -> None:
    fields, done = rewritten(PROMPT, (Wish(kind="language", it="english"), Wish(kind="free")))
    assert (fields, done) == ({}, ())
