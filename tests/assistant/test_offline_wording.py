"""Languages, the place of data, tone, what must never be, and rules."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.dialogue.mind import Context
from assistant.dialogue.offline.languages import languages, names_two_ways
from assistant.dialogue.offline.mind import OfflineMind
from assistant.dialogue.offline.phrases import phrases
from assistant.dialogue.offline.rules import never_in, rules_in
from assistant.dialogue.offline.text import Language, fold, statements
from assistant.dialogue.offline.tone import tone_in
from prompts.spec import TaskSpec


@pytest.mark.parametrize(
    ("text", "task", "facts"),
    [
        ("summarize Italian court rulings in English", "summarization", {"input_language": "it", "language": "en"}),
        ("Résume des articles anglais en français", "summarization", {"input_language": "en", "language": "fr"}),
        ("clasificar correos en inglés", "classification", {"input_language": "en"}),
        ("er soll auf Italienisch antworten", "chat", {"language": "it"}),
        ("Our users ask in Portuguese, SQL comes out", "code", {"input_language": "pt"}),
        ("polish our letters", "rewriting", {}),
        ("people learning Korean", "chat", {}),
        ("our Japanese suppliers complain", "rewriting", {}),
        ("Finnish manuals into Estonian", "translation", {"input_language": "fi", "language": "et"}),
        ("EN>HU subtitles", "translation", {"input_language": "en", "language": "hu"}),
        ("italienisch rein, deutsch raus", "translation", {"input_language": "it", "language": "de"}),
        ("du néerlandais vers le français", "translation", {"input_language": "nl", "language": "fr"}),
        ("del chino al español", "translation", {"input_language": "zh", "language": "es"}),
    ],
)
def test_languages(text: str, task: str, facts: dict[str, str]) -> None:
    assert languages(text, task, TaskSpec(), correcting=False) == facts


def test_a_corrected_target() -> None:
    spec = TaskSpec().updated("said", task="translation", input_language="de", language="en")
    assert languages("Italienisch ist wichtiger", "translation", spec, correcting=True) == {"language": "it"}


def test_two_languages_make_a_translation() -> None:
    assert names_two_ways("put Finnish instructions into Estonian")
    assert not names_two_ways("complaints in Turkish and Arabic")
    assert not names_two_ways("summaries of Italian rulings in English")


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("the notes mustn't go online", True),
        ("none of it goes out of the house", True),
        ("cloud's fine", False),
        ("an online service is fine by me", False),
        ("It must never leave out an allergen", None),
        ("Die Daten dürfen das Haus nicht verlassen", True),
        ("Cloud ist kein Problem", False),
        ("Cloud ist gestorben", True),
        ("rien ne sort de l'hôpital", True),
        ("le cloud ça nous va", False),
        ("No puede salir ningún dato de nuestra red", True),
        ("la nube no es problema", False),
        ("Cloud is ok. Correction: no cloud after all", True),
    ],
)
def test_place(text: str, local: bool | None) -> None:
    assert phrases(text, fold(text)).get("local_only") == local


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("for each we have a chosen and a rejected answer", {"has_preferences": True}),
        ("von zwei Antworten die bessere angekreuzt", {"has_preferences": True}),
        ("les profs ont choisi la meilleure de deux réponses", {"has_preferences": True}),
        ("anotamos cuál ganaba", {"has_preferences": True}),
        ("start from microsoft/deberta-v3-small", {"base_model": "microsoft/deberta-v3-small"}),
        ("engineering/sales and q/a", {}),
        ("Makro-F1 zählt", {"metric": "macro_f1"}),
        ("exact match please", {"metric": "exact_match"}),
    ],
)
def test_phrases(text: str, facts: dict[str, Any]) -> None:
    assert phrases(text, fold(text)) == facts


@pytest.mark.parametrize(
    ("text", "tone"),
    [
        ("chirpy tone pls", "chirpy"),
        ("Tone: formal.", "formal"),
        ("should sound dignified", "dignified"),
        ("dark and a bit sarcastic", "dark, sarcastic"),
        ("mürrisch soll er sein", "mürrisch"),
        ("grantig aber herzlich, der typ", "grantig, herzlich"),
        ("ton poétique", "poétique"),
        ("Tono épico.", "épico"),
        ("que suenen cordiales", "cordiales"),
        ("casual is too much", ""),
        ("Friendly fire incidents are reported daily", ""),
        ("preguntan sobre el reglamento", ""),
    ],
)
def test_tone(text: str, tone: str) -> None:
    assert tone_in(text, ()) == tone


def test_a_label_is_no_tone() -> None:
    assert tone_in("calm", ("calm", "tense")) == ""


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("it must never ask for the PIN", ("it must never ask for the PIN",)),
        ("Sachlich, und das Wort Traumlage darf nie vorkommen.", ("das Wort Traumlage darf nie vorkommen",)),
        ("Preise darf es niemals nennen", ("Preise darf es niemals nennen",)),
        ("faut jamais ecrire comme neuve", ("faut jamais ecrire comme neuve",)),
        ("Que no vaya a inventar nunca una referencia", ("Que no vaya a inventar nunca una referencia",)),
        ("we never had a model before", ()),
        ("training shouldn't go beyond twenty minutes", ()),
        ("data must never leave the building", ()),
    ],
)
def test_never(text: str, never: tuple[str, ...]) -> None:
    assert never_in(text) == never


@pytest.mark.parametrize(
    ("text", "language", "rules"),
    [
        ("at most 60 words each", "en", ("at most 60 words each",)),
        ("sixty words at most", "en", ("sixty words at most",)),
        ("so eine halbe Seite", "de", ("eine halbe Seite",)),
        ("quinze lignes", "fr", ("quinze lignes",)),
        ("6 500 phrases alignées", "fr", ()),
        ("always add type hints", "en", ("always add type hints",)),
        ("que cite siempre el artículo", "es", ("que cite siempre el artículo",)),
        ("people always ask the same", "en", ()),
        ("it has to run on our own server", "en", ()),
        ("If unsure, say so", "en", ("If unsure, say so",)),
    ],
)
def test_rules(text: str, language: Language, rules: tuple[str, ...]) -> None:
    assert rules_in(text, language, ()) == rules


def test_a_limit_gets_a_new_number() -> None:
    assert rules_in("machen wir höchstens 120", "de", ("Höchstens 80 Wörter",)) == ("Höchstens 120 Wörter",)


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("200 rows, no wait, 300", "300"),
        ("Wir haben 90, Quatsch, 190 Protokolle", "190 Protokolle"),
        ("j'en ai 500, attendez, 480", "480"),
        ("una 4080... miento, una 3060", "una 3060"),
    ],
)
def test_corrections(text: str, last: str) -> None:
    assert statements(text)[-1] == (last, True)


@pytest.mark.parametrize("where", ["/home/me/python-code/model", "./models/coder.gguf", "Qwen/Qwen2.5-Coder-0.5B"])
def test_the_name_of_a_model_tells_no_task(where: str) -> None:
    reading = OfflineMind().read(f"Use the base model {where}", Context())
    assert reading.said == {"base_model": where}
    assert not reading.inferred
