"""The notes: well-formed, found when they are asked for, and silent otherwise.

`note_questions.jsonl` holds questions as people type them. Those marked "tune" were held out once and then used, round
by round, to choose the retrieval, its threshold, and what else the notes listen to. Those marked "test" were written
last and have changed nothing: they alone say what to expect of a new question.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from time import perf_counter

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.dialogue import notes as module
from assistant.dialogue.notes import KNOWN, Language, Note, Source, answer, near, notes, ranked, wording

_LANGUAGES: dict[Language, tuple[int, int]] = {"en": (5, 8), "de": (2, 4), "fr": (2, 4), "es": (2, 4)}


class Question(BaseModel):
    """What somebody typed, and the notes that may answer it; none where none does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    notes: tuple[str, ...]
    use: str

    def is_right(self, note: Note | None) -> bool:
        return note is not None and note.id in self.notes


@cache
def questions(*uses: str) -> tuple[Question, ...]:
    lines = Path(__file__).with_name("note_questions.jsonl").read_text("utf-8").splitlines()
    every = tuple(Question(**json.loads(line)) for line in lines)
    return tuple(question for question in every if question.use in uses)


@cache
def best(question: Question) -> tuple[Note | None, float]:
    return next(iter(ranked(question.question)), (None, 0.0))


def shares(asked: tuple[Question, ...], threshold: float = KNOWN) -> tuple[float, float]:
    """The share answered with a right note, and the share of the others that got any note."""
    known = [
        question.is_right(best(question)[0]) and best(question)[1] >= threshold for question in asked if question.notes
    ]
    unknown = [best(question)[1] >= threshold for question in asked if not question.notes]
    return sum(known) / len(known), sum(unknown) / len(unknown)


def say(figure: str) -> None:
    print(figure)  # noqa: T201  the figures are worth reading: pytest -s


@pytest.mark.parametrize("note", notes(), ids=lambda note: note.id)
def test_a_note_is_short_rests_on_a_source_and_can_be_asked_for_in_four_languages(note: Note) -> None:
    assert 40 <= len(note.text.split()) <= 110
    assert note.title
    assert all(source.url.startswith("https://") and source.title and source.authors for source in note.sources)
    assert [name for name, (low, high) in _LANGUAGES.items() if not low <= len(note.asks[name]) <= high] == []


def test_ids_and_asks_are_unique() -> None:
    ids = Counter(note.id for note in notes())
    asks = Counter(ask.casefold() for note in notes() for asks in note.asks.values() for ask in asks)
    assert [name for name, count in ids.items() if count > 1] == []
    assert [ask for ask, count in asks.items() if count > 1] == []
    assert len(ids) >= 45


def test_an_arxiv_number_begins_with_the_year_of_its_source() -> None:
    cited = {source for note in notes() for source in note.sources if "arxiv.org" in source.url}
    assert len(cited) > 50
    assert [source for source in cited if source.url[len("https://arxiv.org/abs/") :][:2] != str(source.year)[2:]] == []


def test_one_work_is_cited_in_one_way() -> None:
    cited = {source for note in notes() for source in note.sources}
    assert [url for url, count in Counter(source.url for source in cited).items() if count > 1] == []


def test_a_source_needs_a_safe_address() -> None:
    with pytest.raises(ValidationError):
        Source(title="A", authors="B", year=2020, url="http://example.org")


@pytest.mark.parametrize("note", notes(), ids=lambda note: note.id)
def test_what_a_note_lists_finds_it(note: Note) -> None:
    asks = [ask for asks in note.asks.values() for ask in asks]
    lost = [ask for ask in asks if ranked(ask)[0][0] != note]
    assert lost == []
    silent = [ask for ask in asks if answer(f"{ask}?") is None]
    assert silent == []


def test_no_question_of_the_table_is_listed_with_the_notes() -> None:
    listed = {ask for note in notes() for asks in note.asks.values() for ask in asks}
    listed |= set(module._book().elsewhere)
    listed = {phrase.casefold().strip(" ?") for phrase in listed}
    table = questions("tune", "test")
    assert [question for question in table if question.question.casefold().strip(" ?") in listed] == []


def test_the_table_asks_for_every_note_and_for_nothing_else() -> None:
    assert {name for question in questions("tune", "test") for name in question.notes} == {n.id for n in notes()}


def test_the_whole_table_is_answered_nine_times_of_ten() -> None:
    right, wrong = shares(questions("tune", "test"))
    say(f"whole table: {right:.3f} right, {wrong:.3f} answered that no note answers")
    assert right >= 0.90
    assert wrong <= 0.10


def test_questions_that_changed_nothing() -> None:
    held_out = questions("test")
    right, wrong = shares(held_out)
    asked = [question for question in held_out if question.notes]
    said = [(question, answer(question.question)) for question in asked]
    offered = sum(any(map(question.is_right, (note, *near(question.question)))) for question, note in said) / len(asked)
    misled = sum(note is not None and not question.is_right(note) for question, note in said) / len(asked)
    say(f"held out: {right:.3f} right (n={len(asked)}), {offered:.3f} with offers, {misled:.3f} another note")
    say(f"held out: {wrong:.3f} answered that no note answers (n={len(held_out) - len(asked)})")
    assert len(asked) >= 60
    assert len(held_out) - len(asked) >= 30
    assert right >= 0.78
    assert offered >= 0.88
    assert misled <= 0.10
    assert wrong <= 0.10


def test_the_threshold_is_where_right_answers_and_right_silences_are_most() -> None:
    def both(threshold: float) -> float:
        right, wrong = shares(questions("tune"), threshold)
        return (right + 1 - wrong) / 2

    most = max(both(percent / 100) for percent in range(20, 60, 2))
    assert both(KNOWN) >= most - 0.01


@pytest.mark.parametrize("text", ["", "   ", "?!", "\x00", "🙂", "the", "日本語の質問"])
def test_what_says_nothing_gets_no_note(text: str) -> None:
    assert answer(text) is None
    assert near(text) == ()


def test_a_task_is_not_a_question() -> None:
    assert answer("Route support tickets to billing, delivery or technical. I have 300 labelled tickets.") is None


def test_accents_capitals_and_spellings_do_not_matter() -> None:
    assert ranked("QUÉ ES LoRA") == ranked("que es lora")
    assert ranked("What's Fine-Tuning?") == ranked("what is finetuning?")


def test_near_offers_what_may_be_meant() -> None:
    offered = near("fine-tuning in one sentence please")
    assert answer("fine-tuning in one sentence please") is None
    assert "fine-tuning" in [note.id for note in offered]
    assert len(offered) <= 3
    assert near("what's a healthy breakfast") == ()


def took(text: str) -> float:
    """Seconds for one answer, the least of three: other programs run on the machine too."""
    times = []
    for _ in range(3):
        start = perf_counter()
        answer(text)
        times.append(perf_counter() - start)
    return min(times)


def test_an_answer_takes_a_moment_even_for_a_pasted_file() -> None:
    answer("the notes are read at the first question")
    slowest = max(took(question.question) for question in questions("test"))
    pasted = took("what is LoRA and how many examples do I need? " * 20_000)
    say(f"slowest answer {slowest * 1000:.1f} ms, pasted file {pasted * 1000:.1f} ms")
    assert max(slowest, pasted) < 0.05


def test_notes_need_no_heavy_library() -> None:
    program = (
        "import sys, assistant.dialogue.notes as n; assert n.answer('what is LoRA?').id == 'lora';"
        "print([m for m in ('torch', 'transformers', 'sklearn', 'scipy', 'numpy', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_wording_is_the_text_and_what_it_rests_on() -> None:
    source = Source(title="A Paper", authors="Doe", year=2020, url="https://example.org/a")
    other = Source(title="B Paper", authors="Roe", year=2021, url="https://example.org/b")
    note = Note(id="n", title="N", asks={}, words=(), text="Short.", sources=(source,))
    assert wording(note) == "Short.\n\nSource: [A Paper](https://example.org/a), 2020"
    both = note.model_copy(update={"sources": (source, other)})
    assert wording(both).endswith(
        "Sources: [A Paper](https://example.org/a), 2020; [B Paper](https://example.org/b), 2021"
    )
