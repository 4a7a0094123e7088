"""What is asked for in a message, in four languages, and plain answers to the open question."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.dialogue.mind import ACTS, COSTLY
from assistant.dialogue.offline.commands import act_in, answer_to, asks_something, dictated_prompt, small_talk


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("Start with the sample project", "sample"),
        ("show me the demo", "sample"),
        ("why?", "why"),
        ("Warum fragst du das?", "why"),
        ("pourquoi", "why"),
        ("¿Por qué?", "why"),
        ("go back", "back"),
        ("please undo that", "back"),
        ("zurück", "back"),
        ("annuler", "back"),
        ("deshacer", "back"),
        ("start over", "restart"),
        ("Let's start from scratch", "restart"),
        ("nochmal von vorne bitte", "restart"),
        ("tout recommencer", "restart"),
        ("empezar de nuevo", "restart"),
        ("skip", "skip"),
        ("I don't know yet", "skip"),
        ("weiß ich noch nicht", "skip"),
        ("je ne sais pas", "skip"),
        ("no lo sé", "skip"),
        ("They are in my data", "skip"),
        ("what can you do?", "help"),
        ("Was kannst du?", "help"),
        ("que sais-tu faire ?", "help"),
        ("¿Qué puedes hacer?", "help"),
        ("Start training", "train"),
        ("can you train it now", "train"),
        ("starte das Training", "train"),
        ("lance l'entraînement", "train"),
        ("Yes, start training", "confirm"),
        ("stop", "cancel"),
        ("Cancel training", "cancel"),
        ("look at the data", "profile"),
        ("Measure the prompt", "measure"),
        ("add examples", "few_shot"),
        ("What do you advise?", "recommend"),
        ("Was empfiehlst du?", "recommend"),
        ("Compare side by side", "compare"),
        ("Show the report", "report"),
        ("how far is it?", "status"),
        ("find out what works best", "try"),
        ("start the trials", "try"),
        ("are the trials done?", "trials"),
        ("take your advice", "take_advised"),
    ],
)
def test_a_wish_is_heard(text: str, act: str) -> None:
    assert act_in(text) == act


@pytest.mark.parametrize(
    "text",
    [
        "Write reports about the results of our experiments for the management",
        "We compare offers of energy suppliers and need a summary of each report",
        "I want to train a model that classifies support tickets",
        "Detect cancelled orders",
        "A bot that says why an order is late",
        "Sort the mails that came back",
        "Tell apart which options of our insurance a customer asks about",
        "It reads the notes of clinical trials and stops at the first finding",
        "",
        "😀",
    ],
)
def test_a_description_is_no_wish(text: str) -> None:
    assert act_in(text) is None


def test_every_act_can_be_asked_for_and_what_costs_is_known() -> None:
    asked = {act_in(text) for text in ("why", "go back", "skip", "help", "start training", "status", "compare")}
    assert asked <= set(ACTS)
    assert {
        "measure",
        "measure_both",
        "train",
        "confirm",
        "improve",
        "resume",
        "round",
        "confirm_round",
        "examine",
        "try",
        "confirm_try",
        "resume_trials",
    } == COSTLY


@pytest.mark.parametrize(
    ("text", "asked", "fact"),
    [
        ("Classification", "task", {"task": "classification"}),
        ("Text generation", None, {"task": "generation"}),
        ("Übersetzung", "task", {"task": "translation"}),
        ("Answering questions", "task", {"task": "question_answering"}),
        ("Classification", "labels", {}),
        ("spam, ham", "labels", {"labels": ("spam", "ham")}),
        ("- refund\n- exchange\n- other", "labels", {"labels": ("refund", "exchange", "other")}),
        ("rot, grün oder blau", "labels", {"labels": ("rot", "grün", "blau")}),
        ("name, date and amount.", "fields", {"fields": ("name", "date", "amount")}),
        ("about two hundred examples, labels are spam and ham", "labels", {}),
        ("I think we have two of them, or three", "labels", {}),
        ("200", "examples", {"examples": 200}),
        ("about two hundred", "examples", {"examples": 200}),
        ("keine", "examples", {"examples": 0}),
        ("I have none yet", "examples", {"examples": 0}),
        ("24 GB", "examples", {}),
        ("200", None, {}),
        ("use the embedded model", None, {"base_model": "embedded"}),
    ],
)
def test_a_plain_answer_is_taken_as_one(text: str, asked: str | None, fact: dict[str, Any]) -> None:
    assert answer_to(text, asked) == fact


@pytest.mark.parametrize(
    "text", ["what is LoRA", "Wie viele Daten brauche ich?", "pourquoi pas tout", "¿cuánto cuesta?", "ok?"]
)
def test_a_question_is_a_question(text: str) -> None:
    assert asks_something(text)


@pytest.mark.parametrize("text", ["Classify mails", "200 Beispiele", "je veux trier", "quiero clasificar", ""])
def test_a_statement_is_not(text: str) -> None:
    assert not asks_something(text)


@pytest.mark.parametrize(
    "text",
    [
        "Hi!",
        "hallo",
        "Guten Tag",
        "bonjour",
        "¡Hola!",
        "buenos días",
        "thanks a lot",
        "danke dir",
        "who are you?",
        "ok",
    ],
)
def test_small_talk_gets_a_reply(text: str) -> None:
    assert small_talk(text)


@pytest.mark.parametrize(
    "text", ["hi, I need labels", "thanks, and now please summarize my long letters", "ok 200", ""]
)
def test_more_than_small_talk_does_not(text: str) -> None:
    assert not small_talk(text)


def test_a_prompt_is_dictated() -> None:
    assert dictated_prompt("prompt: Name the team.\nNothing else.") == "Name the team.\nNothing else."
    assert dictated_prompt("Set the prompt to: Be brief") == "Be brief"
    assert dictated_prompt("my prompts are bad: help") == ""
