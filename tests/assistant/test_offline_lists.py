"""Lists of labels and JSON keys, and changes to them."""

from __future__ import annotations

import pytest

from assistant.dialogue.offline.changes import changed_list
from assistant.dialogue.offline.listing import is_plain_list, list_at
from assistant.dialogue.offline.lists import fields_in, labels_in


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("red, green and blue", ("red", "green", "blue")),
        ("pos/neg/mixed", ("pos", "neg", "mixed")),
        ("hass; ok; unklar", ("hass", "ok", "unklar")),
        ("<rent> <rooms> <floor>", ("rent", "rooms", "floor")),
        ("\n- water\n- fire\n- storm", ("water", "fire", "storm")),
        ("\n1. water\n2. fire", ("water", "fire")),
        ("1) water 2) fire 3) storm", ("water", "fire", "storm")),
        ("billing (invoices), delivery, other", ("billing", "delivery", "other")),
        ("grave, no grave o dudoso", ("grave", "no grave", "dudoso")),
        ("A, B, C", ("A", "B", "C")),
    ],
)
def test_reads_lists(text: str, items: tuple[str, ...]) -> None:
    found = list_at(text, 0)
    assert found and found.items == items


def test_a_sentence_is_no_list() -> None:
    assert is_plain_list("spam, ham")
    assert not is_plain_list("about two hundred examples, labels are spam and ham")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("each note stamped as emergency, same-day, routine or admin", ("emergency", "same-day", "routine", "admin")),
        ("one of {infra|app|network}", ("infra", "app", "network")),
        ("sorted by priority (low, medium, high)", ("low", "medium", "high")),
        ("is this review fake or genuine?", ("fake", "genuine")),
        ("Kategorien sind Technik, Rechnung und Sonstiges.", ("Technik", "Rechnung", "Sonstiges")),
        ("entweder an Technik oder an Buchhaltung gehen", ("Technik", "Buchhaltung")),
        ("à savoir haute, normale ou basse", ("haute", "normale", "basse")),
        ("las etiquetas son queja, elogio y duda", ("queja", "elogio", "duda")),
        ("is it spam or not?", ()),
        ("sort our incoming mails", ()),
    ],
)
def test_finds_labels(text: str, labels: tuple[str, ...]) -> None:
    assert labels_in(text, classifies=True) == labels


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"name": "", "total": 0} from invoices', ("name", "total")),
        ("class Item(BaseModel):\n    title: str\n    year: int", ("title", "year")),
        ("Keys:\ninvoice_no:\niban:\ndue_date:", ("invoice_no", "iban", "due_date")),
        ("vesselName;imoNumber;eta as JSON keys", ("vesselName", "imoNumber", "eta")),
        ("turn mails into {customer, product}", ("customer", "product")),
        ("pull order number and product out of mails", ("order number", "product")),
        ("sender, date and subject of every letter", ("sender", "date", "subject")),
        ("Aus Klageschriften Aktenzeichen, Streitwert und Gericht ziehen", ("Aktenzeichen", "Streitwert", "Gericht")),
        ("relever dans les actes le prix, la surface et la parcelle", ("prix", "surface", "parcelle")),
        ("me interesan nombre, edad y parroquia", ("nombre", "edad", "parroquia")),
    ],
)
def test_finds_keys(text: str, fields: tuple[str, ...]) -> None:
    assert fields_in(text, extracts=True) == fields


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("drop c", ("a", "b")),
        ("c weglassen", ("a", "b")),
        ("olvídate de c", ("a", "b")),
        ("enlève c", ("a", "b")),
        ("c moved to the county, strike that one out", ("a", "b")),
        ("d instead of c", ("a", "b", "d")),
        ("c -> d", ("a", "b", "d")),
        ("Remplacez c par d e f", ("a", "b", "d e f")),
        ("ersetze c durch d", ("a", "b", "d")),
        ("añade d", ("a", "b", "c", "d")),
        ("d as well", ("a", "b", "c", "d")),
        ("nobody uses c. Take d instead", ("a", "b", "d")),
        ("c brauchen wir nicht, dafür d", ("a", "b", "d")),
        ("training takes two hours", None),
    ],
)
def test_changes_lists(text: str, after: tuple[str, ...] | None) -> None:
    assert changed_list(text, ("a", "b", "c")) == after
