"""The critique: remarks on bad prompts, silence on good ones, and suggestions that mend what they are about."""

from __future__ import annotations

import re
from typing import Any

import pytest

from prompts.allowed import Allowed
from prompts.critique import CHECKS, Draft, among, applied, remarks_on, words_of
from prompts.spec import TASK_KINDS, TaskSpec, infer_format
from prompts.templates import candidates, starting_prompt
from prompts.versions import Demonstration, PromptVersion

LABELS = ("billing", "delivery", "other")
TICKETS = TaskSpec(task="classification", input="support ticket", output_format="label")
ORDERS = TaskSpec(task="extraction", input="order", output_format="json", fields=("item", "amount"))
MAILS = TaskSpec(task="rewriting", input="mail", output_format="text", language="de", input_language="en")
ROWS = (Demonstration(input="the invoice is wrong", output="billing"), Demonstration(input="late", output="delivery"))
JSON_ROWS = (Demonstration(input="two pens", output='{"item": "pen", "amount": 2}'),)
GOOD = "Classify the support ticket. Answer with exactly one label, nothing else: billing, delivery, other."


def draft(system: str, spec: TaskSpec = TICKETS, **how: Any) -> Draft:
    labels = how.pop("labels", LABELS if spec is TICKETS else ())
    rows = ROWS if spec is TICKETS else JSON_ROWS if spec is ORDERS else ()
    fields = {name: how.pop(name) for name in ("template", "demonstrations", "allowed") if name in how}
    return Draft(PromptVersion(system=system, **fields), spec, labels, rows, **how)


def shown(*pairs: tuple[str, str]) -> tuple[Demonstration, ...]:
    return tuple(Demonstration(input=a, output=b) for a, b in pairs)


SAME = shown(("a", "billing"), ("A ", "billing"))
ALL_ONE = shown(("a", "billing"), ("b", "billing"), ("c", "billing"))

# The draft, the check that must speak, and the words it is about (empty where it is about what is missing).
BAD = [
    (draft("Go."), "task_unstated", ""),
    (draft("Classify the support ticket into a team."), "labels_missing", ""),
    (draft("Classify the ticket as billing, delivery or something."), "labels_missing", ""),
    (draft("Name the team. Answer with one of: billing, deliveries, other."), "labels_unknown", "deliveries"),
    (draft("Sortiere das Ticket: billing, delivery, refunds, other"), "labels_unknown", "refunds"),
    (draft(GOOD.replace("other", "general"), labels=("billing", "delivery", "general")), "", ""),
    (draft("Say which team: billing or delivery.", labels=("billing", "delivery")), "no_rule_for_none", ""),
    (draft(GOOD + " Answer as JSON."), "format_contradicted", "JSON"),
    (draft(GOOD + " Explain your choice."), "format_contradicted", "Explain your"),
    (draft(GOOD + " Begründe die Wahl."), "format_contradicted", "Begründe"),
    (draft(GOOD + " Denke Schritt für Schritt."), "format_contradicted", "Schritt für Schritt"),
    (draft("Read the order and find item and amount.", ORDERS), "format_unstated", ""),
    (draft("Answer with JSON about the order.", ORDERS), "keys_missing", ""),
    (draft("Answer with JSON: item, total.", ORDERS), "keys_missing", ""),
    (draft("Only JSON with item and amount. Explain your answer.", ORDERS), "contradictions", "Explain your"),
    (draft("Rewrite the mail in German. Be brief. Answer in detail.", MAILS), "contradictions", "in detail"),
    (draft("Rewrite the mail in English. Answer in German.", MAILS), "contradictions", "in English"),
    (draft("Schreibe um, fasse dich kurz, ausführlich auf Deutsch.", MAILS), "contradictions", "ausführlich"),
    (draft("Rewrite the mail so that it is polite.", MAILS), "language_unstated", ""),
    (draft(GOOD + " {{ input }}"), "unrendered", "{{ input }}"),
    (draft("<|im_start|>system " + GOOD), "special_tokens", "<|im_start|>"),
    (draft(GOOD + " [INST] Go [/INST]"), "special_tokens", "[INST]"),
    (draft(GOOD, template="User: {{ input }}"), "role_markers", "User:"),
    (draft(GOOD + "\nAssistant: ok"), "role_markers", "Assistant:"),
    (draft(GOOD + " TODO add rules."), "placeholders", "TODO"),
    (draft("Classify for [insert company]. Labels: billing, delivery, other"), "placeholders", "[insert company]"),
    (draft(GOOD + " Use today's date."), "impossible", "today's date"),
    (draft(GOOD + " Look it up on the web if unsure."), "impossible", "Look it up on the web"),
    (draft(GOOD + " Choose the appropriate one."), "vague_words", "appropriate"),
    (draft("Classify: billing, delivery, other, etc."), "vague_words", "etc."),
    (draft("Trie le message : billing, delivery, other. Réponds si possible vite."), "vague_words", "si possible"),
    (draft("Clasifica: billing, delivery, other, y así sucesivamente."), "vague_words", "y así sucesivamente"),
    (draft(GOOD, demonstrations=shown(("late parcel", "shipping"))), "wrong_examples", "late parcel"),
    (draft("Answer with JSON: item, amount.", ORDERS, demonstrations=shown(("x", "pen"))), "wrong_examples", "x"),
    (draft(GOOD, demonstrations=SAME), "repeated_examples", "A "),
    (draft(GOOD, demonstrations=ALL_ONE), "one_sided_examples", "a"),
    (draft(GOOD, demonstrations=ROWS, in_test=among(["The INVOICE  is wrong"])), "leaks", "the invoice is wrong"),
    (draft(GOOD, tokens=900, limit=1000), "too_long", ""),
    (draft(GOOD, tokens=2100, limit=2048, demonstrations=ROWS), "too_long", ""),
    (draft(GOOD, allowed=Allowed(choices=("billing", "other"))), "labels_not_allowed", ""),
    (draft(GOOD, TICKETS.updated("said", must_never=("promise refunds",)), labels=LABELS), "demands_unstated", ""),
    (draft(GOOD, TICKETS.updated("said", rules=("mention the order number",)), labels=LABELS), "demands_unstated", ""),
]  # fmt: skip

SILENT = [
    draft(GOOD),
    draft("Which team should answer? billing, delivery or other"),
    draft("Sortiere das Ticket. Antworte nur mit einem Label: billing, delivery, other."),
    draft("Trie le message. Réponds par une étiquette : billing, delivery, other."),
    draft("Clasifica el mensaje. Responde solo con la etiqueta: billing, delivery, other."),
    draft(GOOD + " Never explain."),
    draft(GOOD + " Do not give reasons."),
    draft(GOOD, template="Ticket: {{ input }}\nTeam:"),
    draft("billing is about invoices, delivery about parcels, other is the rest. Name the team of the ticket."),
    draft(GOOD, demonstrations=ROWS),
    draft(GOOD, tokens=300, limit=2048),
    draft("Extract item and amount from the order as JSON. Use null for what is not there.", ORDERS),
    draft('Answer with JSON like {"item": "pen", "amount": 2}.', ORDERS),
    draft("Schreibe die Mail höflich um. Antworte auf Deutsch.", MAILS),
    draft("Rewrite the mail. Answer in German, in at most three sentences.", MAILS),
    draft("Summarize the text in two sentences.", TaskSpec(task="summarization", output_format="text")),
    draft("Translate the letter into French.", TaskSpec(task="translation", output_format="text", language="fr")),
    draft(GOOD, allowed=Allowed(choices=LABELS)),
    draft("Answer the question. Say that you do not know where you do not.", TaskSpec(task="question_answering")),
]


@pytest.mark.parametrize(("bad", "check", "words"), BAD, ids=[f"{n}-{check}" for n, (_, check, _) in enumerate(BAD)])
def test_what_is_wrong_is_said_of_its_words(bad: Draft, check: str, words: str) -> None:
    remarks = {remark.check: remark for remark in remarks_on(bad)}
    if not check:
        assert not remarks
        return
    assert check in remarks, list(remarks)
    about = remarks[check].about
    assert (words_of(bad.version, about) if about else "") == words
    assert remarks[check].text.endswith((".", "'", "”"))


@pytest.mark.parametrize("good", SILENT, ids=range(len(SILENT)))
def test_a_good_prompt_is_left_alone(good: Draft) -> None:
    assert [r for r in remarks_on(good) if r.severity != "info"] == []


@pytest.mark.parametrize("bad", [bad for bad, _, _ in BAD], ids=range(len(BAD)))
def test_a_suggestion_takes_its_remark_away_and_brings_no_other(bad: Draft) -> None:
    before = {(r.check, r.text) for r in remarks_on(bad)}
    for remark in remarks_on(bad):
        if remark.suggestion is None:
            continue
        after = applied(bad.version, remark)
        assert after.parent == bad.version.id and after.author == "tunewright" and after.reason
        fewer = bad.tokens and bad.tokens // 3  # as half of the examples take fewer
        again = remarks_on(Draft(**{**vars(bad), "version": after, "tokens": fewer}))
        assert (remark.check, remark.text) not in {(r.check, r.text) for r in again}
        new = {r.check for r in again if r.severity != "info"} - {check for check, _ in before}
        assert not new, (remark.check, after.system, new)


def test_every_check_speaks_somewhere() -> None:
    spoken = {remark.check for bad, _, _ in BAD for remark in remarks_on(bad)}
    assert {check.__name__ for check in CHECKS} <= spoken


@pytest.mark.parametrize("task", TASK_KINDS)
def test_our_own_prompts_stand_up_to_it(task: str) -> None:
    facts = {"task": task, "input": "mail", "output": "a reply", "output_format": infer_format(task)}
    spec = TaskSpec.model_validate({**facts, "labels": LABELS, "fields": ("item", "amount"), "language": "de"})
    for version in (starting_prompt(spec), *candidates(spec, LABELS, "small"), *candidates(spec, LABELS, "large")):
        found = remarks_on(Draft(version, spec, LABELS if task == "classification" else ()))
        assert [r for r in found if r.severity != "info"] == [], version


def test_the_gravest_come_first_and_words_are_where_they_stand() -> None:
    bad = draft("Choose the appropriate team {{ input }}: billing, delivery")
    remarks = remarks_on(bad)
    order = ["error", "warning", "info"]
    assert [order.index(r.severity) for r in remarks] == sorted(order.index(r.severity) for r in remarks)
    for remark in remarks:
        if remark.about and remark.about.part == "system":
            assert re.search(re.escape(words_of(bad.version, remark.about)), bad.version.system)
