"""The person's demands: what their wording lets a program check, and what is said of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from prompts.spec import TaskSpec
from trainers.data import Example
from trainers.evaluation.demands import DemandsProbe
from trainers.evaluation.probe import Subject
from trainers.evaluation.records import Gate, Part, Prediction
from trainers.evaluation.remedies import apply
from trainers.evaluation.wording import Known, read_demand
from trainers.plan import TrainingPlan

Plans = Callable[..., TrainingPlan]
KNOWN = Known(labels=("billing", "returns"), language="de")


def checked(demand: str, *, forbidden: bool) -> Callable[[str], bool]:
    check = read_demand(demand, forbidden=forbidden, known=KNOWN)
    assert check is not None, demand
    return check.breaks


@pytest.mark.parametrize(
    ("demand", "breaks", "keeps"),
    [
        ('use the word "guaranteed"', "It is Guaranteed.", "It is a guarantee."),
        ("das Wort Traumlage darf nie vorkommen", "In bester Traumlage!", "Am See."),
        ("never say “free of charge”", "All free of charge.", "It costs nothing."),
        ("links", "See https://example.org/a", "See our page."),
        ("write e-mail addresses", "Ask me@example.org", "Ask me @ the desk"),
        ("Preise darf es niemals nennen", "Nur 20 € im Monat", "Nur 20 Tage im Monat"),
        ("mention prices", "It costs $5.", "It costs little."),
        ("give dates", "Due on 3 May.", "Due soon."),
        ("give dates", "Due 2024-05-03.", "Due in 2024."),
        ("numbers", "I have 2.", "I have two."),
        ("ne jamais utiliser d'emojis", "Merci 😊", "Merci"),
        ("nunca usar emojis", "Gracias ❤", "Gracias"),
        ("use exclamation marks", "Hello!", "Hello."),
        ("points d'exclamation", "Bonjour !", "Bonjour."),
        ("give more than one label", "billing and returns", "billing"),
        ("phone numbers", "Call +49 30 901820", "Call me in 2020"),
        ("personal data", "Write to me@example.org", "Write to me"),
        ("be longer than two sentences", "One. Two. Three.", "One. Two."),
        ("more than 5 words", "one two three four five six", "one two three four five"),
        ("answer in English", "This is a whole sentence in English.", "Das ist ein ganzer Satz auf Deutsch."),
        ("answer in another language", "This is a whole sentence in English.", "Das ist ein ganzer Satz auf Deutsch."),
        ("name prices or links", "www.example.org", "nothing of it"),
    ],
)
def test_what_must_never_be_is_read_in_four_languages(demand: str, breaks: str, keeps: str) -> None:
    check = checked(demand, forbidden=True)
    assert check(breaks)
    assert not check(keeps)


@pytest.mark.parametrize(
    ("rule", "breaks", "keeps"),
    [
        ("at most 3 words each", "one two three four", "one two three"),
        ("höchstens zwei Sätze", "Eins. Zwei. Drei.", "Eins. Zwei."),
        ("trois puces", "- a\n- b\n- c\n- d", "- a\n- b\n- c"),
        ("como máximo dos frases", "Una. Dos. Tres.", "Una. Dos."),
        ("fewer than 10 characters", "0123456789", "012345678"),
        ("never more than 3 words", "one two three four", "one two three"),
        ("at least two sentences", "One.", "One. Two."),
        ("no emojis", "Hi 🙂", "Hi"),
        ("always include a link", "See our page.", "See https://example.org"),
        ('Always start with "Dear customer"', "Hello, dear customer", "Dear  Customer, thanks"),
        ('end every answer with "Best wishes"', "Best wishes, and more", "Thanks. Best wishes."),
        ("valid JSON only", "{a: 1}", '{"a": 1}'),
        ("in capital letters", "Hello", "HELLO"),
        ("exactly one label", "billing.", "billing"),
        ("auf Deutsch antworten", "This is a whole sentence in English.", "Das ist ein ganzer Satz auf Deutsch."),
    ],
)
def test_rules_are_read_in_four_languages(rule: str, breaks: str, keeps: str) -> None:
    check = checked(rule, forbidden=False)
    assert check(breaks)
    assert not check(keeps)


@pytest.mark.parametrize(
    ("demand", "forbidden"),
    [
        ("give medical advice", True),
        ("it must never ask for the PIN", True),
        ("promise a delivery date", True),  # a date in an answer need not be one that is promised
        ("invent numbers", True),
        ("answer without a link", True),
        ("mention prices unless asked", True),
        ("say sorry", True),
        ("If unsure, say so", False),
        ("so eine halbe Seite", False),
        ("around 150 words", False),
        ("titles of at most 5 words", False),
        ("höchstens 80 Wörter, und nie an Seeblick versprechen", False),
        ("always add type hints", False),
        ("emojis", False),  # wanted or not?
        ("be polite", False),
    ],
)
def test_nothing_is_guessed(demand: str, forbidden: bool) -> None:
    assert read_demand(demand, forbidden=forbidden, known=KNOWN) is None


# The verdicts


@pytest.fixture
def subject(tiny_plan: Plans) -> Subject:
    plan = tiny_plan()
    train = tuple(Example(row, f"Ticket {row}", ("billing", "returns")[row % 2]) for row in range(1, 41))
    return Subject(plan=plan, how=plan.evaluation, train=train, dev=(), test=())


def said(*answers: str, expected: str = "billing", failed: int = 0) -> list[Prediction]:
    """Predictions with these answers of the tuned model; the last `failed` of them never came."""
    scores = {"base": "x", "base_score": 0.0}
    whole, gone = answers[: len(answers) - failed], answers[len(answers) - failed :]
    texts = [*((text, "") for text in whole), *(("", "no answer within 1 s") for _ in gone)]
    return [
        Prediction(row=n, input=f"in {n}", expected=expected, tuned=t, tuned_score=float(t == expected), tuned_failed=f,
                   **scores)
        for n, (t, f) in enumerate(texts, start=1)
    ]  # fmt: skip


def judged(subject: Subject, spec: TaskSpec | None, predictions: list[Prediction]) -> Part:
    return DemandsProbe(replace(subject, spec=spec)).judge([], [], predictions)


def gate(subject: Subject, spec: TaskSpec, predictions: list[Prediction]) -> Gate:
    [found] = judged(subject, spec, predictions).gates
    return found


def test_a_ban_that_is_kept_says_how_sure_that_is(subject: Subject) -> None:
    found = gate(subject, TaskSpec(must_never=("emojis",)), said(*["fine"] * 60))
    assert found.level == "passed"
    assert "all 60 answers" in found.told
    assert "4.9%" in found.told, "1 - 0.05 ** (1 / 60)"


def test_few_answers_prove_nothing(subject: Subject) -> None:
    found = gate(subject, TaskSpec(must_never=("emojis",)), said(*["fine"] * 5))
    assert found.level == "unknown"
    assert "14 more test rows" in found.told


def test_one_broken_ban_is_not_met_and_shown(subject: Subject) -> None:
    part = judged(subject, TaskSpec(must_never=("emojis",)), said(*["fine"] * 59, "fine 🙂"))
    [found], [case] = part.gates, part.cases
    assert found.level == "failed"
    assert "1 of 60" in found.told
    assert (case.tuned, case.title) == ("fine 🙂", "must never: emojis (row 60)")


def test_the_training_rows_that_show_it_are_named(subject: Subject) -> None:
    shown = replace(subject, train=(*subject.train, Example(77, "Ticket", "billing 🙂")))
    [remedy] = gate(shown, TaskSpec(must_never=("emojis",)), said(*["🙂"] * 30)).remedies
    assert "1 of 41" in remedy.why
    assert "row 77" in remedy.why


def test_what_no_rule_can_check_is_left_to_a_person(subject: Subject) -> None:
    spec = TaskSpec(must_never=("give medical advice",), rules=("be polite",), tone="friendly")
    found = judged(subject, spec, said(*["fine"] * 60)).gates
    assert [one.level for one in found] == ["unknown"] * 3
    assert all("a person, or a judge model, has to read" in one.told for one in found)


def test_personal_data_is_never_proved_away(subject: Subject) -> None:
    spec = TaskSpec(must_never=("personal data",))
    assert gate(subject, spec, said(*["Anna Schmidt, Hauptstraße 3"] * 60)).level == "unknown"
    assert gate(subject, spec, said(*["fine"] * 59, "me@example.org")).level == "failed"


@pytest.mark.parametrize(("right", "level"), [(58, "passed"), (48, "unknown"), (20, "failed")])
def test_the_target_is_met_only_where_the_interval_says_so(subject: Subject, right: int, level: str) -> None:
    part = judged(subject, TaskSpec(target_score=0.85), said(*["billing"] * right, *["returns"] * (60 - right)))
    [found], [figure] = part.gates, part.figures
    assert found.level == level
    assert figure.tuned is not None and figure.tuned.value == pytest.approx(right / 60)
    assert ("more test rows" in found.told) == (level == "unknown")


def test_a_row_that_failed_keeps_no_rule_and_breaks_no_ban(subject: Subject) -> None:
    answers = said(*["billing"] * 60, failed=6)
    spec = TaskSpec(output_format="label", labels=("billing", "returns"), must_never=("emojis",))
    labels, never = judged(subject, spec, answers).gates
    assert (labels.level, never.level) == ("failed", "passed")
    assert "6 of 60" in labels.told
    assert "54 answers" in never.told


def test_a_slip_in_a_rule_is_a_warning(subject: Subject) -> None:
    spec = TaskSpec(rules=("at most 2 words",))
    assert gate(subject, spec, said(*["billing"] * 59, "a b c")).level == "warning"
    assert gate(subject, spec, said(*["billing"] * 50, *["a b c"] * 10)).level == "failed"


def test_the_form_of_the_answers_is_a_demand_with_a_remedy_that_makes_a_plan(subject: Subject) -> None:
    spec = TaskSpec(output_format="label", labels=("billing", "returns"))
    found = gate(subject, spec, said(*["It is billing"] * 30))
    assert found.level == "failed"
    allowed = apply(found.remedies[0], subject.plan).prompt.allowed
    assert allowed is not None and allowed.choices == ("billing", "returns")


def test_json_and_its_fields(subject: Subject) -> None:
    train = (Example(1, "a", '{"name": "x", "age": 1}'),)
    spec = TaskSpec(output_format="json", fields=("name", "age"))
    valid, has_fields = judged(replace(subject, train=train), spec, said(*['{"name": "y"}'] * 30)).gates
    assert (valid.level, has_fields.level) == ("passed", "failed")
    allowed = apply(has_fields.remedies[0], subject.plan).prompt.allowed
    assert allowed is not None and '"age"' in allowed.json_schema


def test_the_language_is_judged_where_answers_are_long_enough(subject: Subject) -> None:
    spec = TaskSpec(output_format="text", language="de")
    german = "Das ist ein ganzer Satz auf Deutsch."
    assert gate(subject, spec, said(*[german] * 30)).level == "passed"
    assert gate(subject, spec, said(*[german] * 20, *["This is a whole sentence in English."] * 10)).level == "failed"
    assert gate(subject, spec, said(*["ok"] * 30)).level == "unknown"


@pytest.mark.parametrize("spec", [None, TaskSpec(description="Sort tickets.")])
def test_without_demands_that_is_said(subject: Subject, spec: Any) -> None:
    [found] = judged(subject, spec, said(*["fine"] * 30)).gates
    assert found.level == "unknown"
    assert judged(subject, TaskSpec(must_never=("links",)), []).gates[0].level == "unknown"
