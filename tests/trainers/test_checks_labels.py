"""Wrong labels and languages: what is found of a known corruption, and what is told of clean rows."""

from __future__ import annotations

import pytest

from tests.trainers.checked import found, made_up_tickets, of_inputs, with_flips
from trainers.checks import spoken
from trainers.checks.labels import label_errors
from trainers.checks.languages import languages
from trainers.checks.spoken import language_of, languages_of


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_most_of_the_flipped_labels_are_found_and_few_others_told(seed: int) -> None:
    pairs, flipped = with_flips(made_up_tickets(600, seed), 0.05, seed)
    [finding] = found(label_errors, pairs)
    told = set(finding.rows)
    assert len(told & flipped) >= 0.6 * len(flipped)
    assert len(told - flipped) <= 0.03 * (600 - len(flipped))
    assert finding.rows[0] in flipped, "the most suspicious row comes first"
    assert "reads like" in finding.examples[0]


def test_two_labels_are_enough() -> None:
    two = [(text, label) for text, label in made_up_tickets(400) if label in ("billing", "technical")]
    pairs, flipped = with_flips(two, 0.05)
    [finding] = found(label_errors, pairs)
    assert len(set(finding.rows) & flipped) >= 0.6 * len(flipped)
    assert len(set(finding.rows) - flipped) <= 0.03 * len(two)


def test_clean_labels_are_left_alone() -> None:
    assert found(label_errors, made_up_tickets(400)) == []


def test_labels_that_words_do_not_tell_are_not_doubted_but_that_is_said() -> None:
    lottery = [(text, "abcd"[n * 7919 % 97 % 4]) for n, (text, _) in enumerate(made_up_tickets(300))]
    [finding] = found(label_errors, lottery)
    assert (finding.severity, finding.rows) == ("info", ())
    assert "could not be looked for" in finding.text


@pytest.mark.parametrize(
    "pairs",
    [
        made_up_tickets(40),
        [(text, f"answer {n} in words of its own") for n, (text, _) in enumerate(made_up_tickets(100))],
        [(text, "billing") for text, _ in made_up_tickets(100)],
        [("?!", "ab"[n % 2]) for n in range(100)],
    ],
    ids=["too few", "free answers", "one label", "no words"],
)
def test_where_there_is_nothing_to_doubt(pairs: list[tuple[str, str]]) -> None:
    assert [finding for finding in found(label_errors, pairs) if finding.rows] == []


ENGLISH = [text for text, _ in made_up_tickets(30)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Wo bleibt meine Karte? Ich warte seit zwei Wochen darauf.", "de"),
        ("Ma carte n'est pas encore arrivée, que faire ?", "fr"),
        ("Hola, quisiera saber dónde está mi tarjeta, llevo dos semanas esperándola", "es"),
        ("我的新卡还没有到,已经等了两个星期了", "zh"),
        ("I have been waiting for my new card for two weeks", "en"),
        ("ok", "und"),
        ("12345 67890 12345 67890", "und"),
    ],
)
def test_a_language_is_told_or_left_open(text: str, code: str) -> None:
    assert language_of(text) == code


def test_many_texts_at_once_are_read_as_the_library_reads_each() -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    theirs = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    theirs.set_languages([code for code in spoken._KNOWN.split() if code in theirs.labels])
    texts = [
        *ENGLISH,
        "Ово је српски текст на ћирилици",
        "Ovo je tekst na latinici, zar ne?",
        "GROSS GESCHRIEBEN IST ES NICHT ANDERS",
        "Wo bleibt meine Karte? Ich warte seit zwei Wochen darauf.",
        "Cafe\u0301 au lait, s'il vous plai\u0302t",
        "привет, как дела сегодня вечером",
        "これは日本語の文章です。",
        "Lorem ipsum dolor sit amet " * 60,
        "12345 67890 12345 67890 12345",
        "\x00" * 40,
        "🙂" * 20,
        "half a pair \udc80 in this sentence",
    ]
    told = [theirs.classify(text[:1000]) for text in texts]
    expected = [code if sure >= spoken._SURE else "und" for code, sure in told]
    assert list(languages_of(texts)) == expected
    assert {"en", "de", "fr", "sr", "ru", "ja", "und"} <= set(expected)
    assert list(languages_of([])) == []


def test_rows_in_another_language_than_most() -> None:
    [finding] = found(languages, of_inputs(*ENGLISH, "Wo bleibt meine Karte? Ich warte seit zwei Wochen darauf."))
    assert finding.rows == (31,)
    assert "1 of 31 inputs in another language than most" in finding.text
    assert found(languages, of_inputs(*ENGLISH, "ok", "????")) == []


def test_data_in_two_languages_is_told_as_such() -> None:
    german = [f"Wo bleibt meine Lieferung mit der Nummer {n}? Ich warte seit zwei Wochen." for n in range(20)]
    [finding] = found(languages, of_inputs(*ENGLISH, *german))
    assert "in several languages: en 30, de 20" in finding.text
