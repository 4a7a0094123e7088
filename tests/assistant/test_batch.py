"""A file through several arms: what is asked, what is kept, what a failure leaves alone, and the table."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from assistant.answers import Answer
from assistant.arena.asking import Arm
from assistant.arena.batch import Batch, run_batch
from assistant.arena.table import BatchTable, Cell, tabulate
from assistant.votes import ArmAnswer
from prompts.allowed import Allowed
from prompts.chat_model import Message, Sampling
from prompts.errors import DataError, EngineError, RunError, TunewrightError
from prompts.versions import PromptVersion
from tests.fakes import MemoryShelf, ScriptedModel
from tests.trainers.runs import wait_for
from trainers.data import Example

PROMPT = PromptVersion(system="Answer.")
SAMPLING = Sampling(max_tokens=7)
ROWS = tuple(Example(row=n, input=f"row {n}", output="even" if n % 2 == 0 else "odd") for n in range(1, 21))


def even(messages: Sequence[Message]) -> str:
    return "even"


def right(messages: Sequence[Message]) -> str:
    return "even" if int(messages[-1].content.split()[-1]) % 2 == 0 else "odd"


def arm(model: ScriptedModel, title: str = "", prompt: PromptVersion = PROMPT) -> Arm:
    return Arm(title or model.name, model, prompt)


def begin(
    models: Sequence[ScriptedModel],
    rows: Sequence[Example] = ROWS,
    metric: str | None = "exact match",
    shelf: MemoryShelf | None = None,
    **how: float,
) -> Batch:
    return run_batch(
        len(models), lambda say: [arm(model) for model in models], rows, metric, SAMPLING, shelf or MemoryShelf(), **how
    )  # type: ignore[arg-type]


def ended(batch: Batch) -> Batch:
    wait_for(lambda: not batch.running, "end of the batch", 30)
    return batch


def table_of(batch: Batch) -> BatchTable:
    table = ended(batch).table
    assert table is not None
    return table


def written(texts: Sequence[Sequence[str]], expected: str = "", titles: Sequence[str] = ("A", "B")) -> BatchTable:
    """A table of what nobody was asked: for each row the text of every arm."""
    arms = [Arm(title, ScriptedModel(title), PROMPT) for title in titles]
    rows = [Example(row=n, input=f"in {n}", output=expected) for n in range(1, len(texts) + 1)]
    cells = [
        {
            row.input: Cell(ArmAnswer(model=arm.model.name, prompt_id=PROMPT.id, text=said[n], tokens=len(said[n])))
            for row, said in zip(rows, texts, strict=True)
        }
        for n, arm in enumerate(arms)
    ]
    return tabulate(arms, rows, cells, "exact match")


# Asking


def test_every_arm_answers_every_row() -> None:
    good, half = ScriptedModel("good", answer=right, usage=3), ScriptedModel("half", answer=even, usage=1)
    batch = ended(begin([good, half]))
    table = table_of(batch)
    assert (batch.done, batch.total, batch.failed, batch.error, batch.message) == (40, 40, 0, "", "40 of 40 answers")
    assert [row.number for row in table.rows] == [row.row for row in ROWS]
    first = table.rows[0]
    assert (first.input, first.expected, first.disagreement) == ("row 1", "odd", 1.0)
    assert [(cell.answer.text, cell.score, cell.answer.tokens) for cell in first.cells] == [
        ("odd", 1.0, 3),
        ("even", 0.0, 1),
    ]
    scores = [arm.score for arm in table.arms]
    assert [score and (score.value, score.n) for score in scores] == [(1.0, 20), (0.5, 20)]
    assert scores[1] is not None and scores[1].low < 0.5 < scores[1].high
    assert [(arm.tokens, arm.failures) for arm in table.arms] == [(3.0, 0), (1.0, 0)]
    assert table.metric == "exact match"
    assert {
        (sampling.max_tokens, chat[0].content) for sampling, chat in zip(good.sampled, good.heard, strict=True)
    } == {(7, "Answer.")}


def test_all_arms_at_once_and_no_more_than_may_be() -> None:
    models = [ScriptedModel(name, answer=right, pace=0.02) for name in ("a", "b", "c")]
    seen: list[tuple[int, ...]] = []
    for model in models:
        model.on_piece = lambda name, piece: seen.append(tuple(one.open for one in models))
    ended(begin(models, at_once=6))
    assert max(map(sum, seen)) == 6
    assert (2, 2, 2) in seen


def test_an_arm_is_asked_with_its_own_prompt_and_what_that_allows() -> None:
    held = PromptVersion(system="Other.", allowed=Allowed(choices=("even", "odd")))
    free, bound = ScriptedModel("free"), ScriptedModel("bound")
    ended(run_batch(2, lambda say: [arm(free), arm(bound, prompt=held)], ROWS[:2], None, SAMPLING, MemoryShelf()))
    assert {sampling.allowed for sampling in free.sampled} == {None}
    assert {sampling.allowed for sampling in bound.sampled} == {held.allowed}
    assert {chat[0].content for chat in bound.heard} == {"Other."}


def test_the_same_input_is_asked_once_and_has_all_its_rows() -> None:
    rows = [Example(1, "row 1", "odd"), Example(2, "row 1", "even")]
    model = ScriptedModel(answer=right)
    batch = begin([model], rows)
    assert [row.cells[0].score for row in table_of(batch).rows] == [1.0, 0.0]
    assert (len(model.heard), batch.total) == (1, 1)


# Keeping


def test_after_a_stop_only_the_rest_is_asked() -> None:
    shelf = MemoryShelf()
    models = [ScriptedModel(name, answer=right, pace=0.05) for name in ("a", "b")]
    batch = begin(models, shelf=shelf, at_once=4)
    wait_for(lambda: batch.done >= 8, "answers", 20)
    batch.stop()
    table = table_of(batch)
    kept = sum(map(len, shelf.kept.values()))
    assert 8 <= kept == batch.done < 40
    assert (batch.error, batch.message) == ("", f"Stopped. {kept} of 40 answers; they are kept.")
    assert [model.open for model in models] == [0, 0], "the engine must not go on with what nobody reads"
    assert len(table.rows) + table.missing == 20
    assert 0 < len(table.rows) <= kept // 2
    again = [ScriptedModel(name, answer=right) for name in ("a", "b")]
    whole = table_of(begin(again, shelf=shelf))
    assert sum(len(model.heard) for model in again) == 40 - kept
    assert (len(whole.rows), whole.missing) == (20, 0)


def test_what_is_kept_comes_back_as_it_was() -> None:
    shelf = MemoryShelf()
    models = [ScriptedModel(name, answer=right, usage=5) for name in ("a", "b")]
    first = table_of(begin(models, shelf=shelf))
    asked = [len(model.heard) for model in models]
    assert table_of(begin(models, shelf=shelf)) == first
    assert [len(model.heard) for model in models] == asked
    answer = first.rows[0].cells[0].answer
    assert (answer.tokens, answer.finish_reason, answer.model, answer.title) == (5, "stop", "a", "a")
    assert [message.content for message in answer.messages] == ["Answer.", "row 1"]
    assert answer.first_token is not None and answer.seconds > 0


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=8),
        Sampling(max_tokens=7, temperature=0.5, seed=1),
        Sampling(max_tokens=7, allowed=Allowed(choices=("even", "odd"))),
    ],
)
def test_other_settings_are_other_answers(sampling: Sampling) -> None:
    shelf, model = MemoryShelf(), ScriptedModel()
    for settings in (SAMPLING, sampling, SAMPLING):
        ended(run_batch(1, lambda say: [arm(model)], ROWS[:3], None, settings, shelf))
    assert len(model.heard) == 6


def test_an_answer_of_earlier_versions_is_one_too() -> None:
    assert Answer.model_validate_json('{"text": "x", "cut": true}') == Answer(text="x", cut=True)


def test_a_shelf_that_cannot_keep_ends_it_with_its_words() -> None:
    class Full(MemoryShelf):
        def keep_answer(self, key: str, row: str, answer: Answer) -> None:
            raise RunError("The disk is full.")

    batch = ended(begin([ScriptedModel()], shelf=Full()))
    assert batch.error == "The disk is full."
    assert table_of(batch).missing == 20


# Failing


def test_an_arm_that_fails_leaves_the_others_alone() -> None:
    shelf = MemoryShelf()
    broken = ScriptedModel("broken", ["par", "tial"], fails_at=1, error=EngineError("It is out.", hint="Start it."))
    batch = ended(begin([broken, ScriptedModel("good", answer=right)], shelf=shelf))
    table = table_of(batch)
    assert (batch.error, batch.failed, batch.message) == ("", 20, "40 of 40 answers, 20 failed")
    assert len(table.rows) == 20, "a failure is a row, never dropped"
    assert {(row.cells[0].error, row.cells[0].score) for row in table.rows} == {("It is out. Start it.", 0.0)}
    assert [arm.failures for arm in table.arms] == [20, 0]
    assert [arm.score and arm.score.value for arm in table.arms] == [0.0, 1.0]
    assert {row.disagreement for row in table.rows} == {0.0}, "one answer has nobody to disagree with"
    mended = ScriptedModel("broken", answer=right)
    assert table_of(begin([mended], shelf=shelf)).arms[0].failures == 0
    assert len(mended.heard) == 20, "a failure is asked for again"


@pytest.mark.parametrize("metric", ["exact match", "macro-F1", "chrF", "token F1"])
def test_a_failed_answer_counts_as_nothing_under_every_metric(metric: str) -> None:
    def sometimes(messages: Sequence[Message]) -> str:
        if messages[-1].content.endswith("0"):
            raise ValueError("bad bytes")
        return right(messages)

    table = table_of(begin([ScriptedModel(answer=sometimes)], metric=metric))
    [arm] = table.arms
    assert arm.failures == 2 and arm.score is not None
    assert arm.score.n == 20 and arm.score.value < 1
    assert [row.cells[0].score for row in table.rows] == pytest.approx([float(row.row % 10 != 0) for row in ROWS])
    assert "bad bytes" in table.rows[9].cells[0].error


def test_an_answer_that_does_not_come_is_an_error_and_an_arm_that_keeps_silent_is_left() -> None:
    mute = ScriptedModel("mute", pace=60)
    good = ScriptedModel("good", answer=right)
    batch = ended(begin([mute, good], at_once=4, patience=0.2))
    table = table_of(batch)
    errors = [row.cells[0].error for row in table.rows]
    assert errors[0] == "mute said nothing for 0 s."
    assert errors[-1].startswith("Not asked: mute had said nothing")
    assert 8 <= len(mute.heard) <= 10 and mute.open == 0
    assert table.arms[1].score is not None and table.arms[1].score.value == 1.0


def test_a_slow_answer_that_goes_on_is_no_silent_one() -> None:
    slow = ScriptedModel(pieces=["even"] + [""] * 5, pace=0.15)
    assert table_of(begin([slow], ROWS[1:2], patience=0.6)).rows[0].cells[0].error == ""


# Watching


def test_the_time_left_is_told() -> None:
    batch = begin([ScriptedModel(answer=right, pace=0.1)], at_once=2)
    assert batch.seconds_left is None
    wait_for(lambda: batch.done >= 6, "answers", 20)
    done, left = batch.done, batch.seconds_left
    begun = time.monotonic()
    ended(batch)
    spent = time.monotonic() - begun
    assert left is not None and done < 20
    assert left == pytest.approx(spent, rel=0.5, abs=0.4)
    assert batch.seconds_left is None


def test_the_slowest_arm_tells_how_long_it_takes() -> None:
    fast, slow = ScriptedModel("fast", answer=right), ScriptedModel("slow", answer=right, pace=0.15)
    batch = begin([fast, slow], at_once=4)
    wait_for(lambda: len(slow.heard) >= 7 and batch.done >= 24, "answers", 20)
    assert batch.seconds_left is not None and batch.seconds_left > 0.6
    batch.stop()
    ended(batch)


def test_a_stop_before_anything_is_no_error() -> None:
    batch = begin([ScriptedModel(pace=0.3)])
    batch.stop()
    assert (table_of(batch).rows, batch.error) == ((), "")


# What cannot be asked


@dataclass
class Asked:
    models: int = 1
    rows: Sequence[Example] = ROWS
    metric: str | None = None
    name: Callable[[int], str] = str


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (Asked(rows=()), DataError, "no row"),
        (Asked(metric="applause"), DataError, "'applause'"),
        (Asked(models=0), RunError, "0 models"),
        (Asked(models=5), RunError, "5 models"),
    ],
)
def test_what_makes_no_batch_is_said_at_once(asked: Asked, error: type[TunewrightError], words: str) -> None:
    models = [ScriptedModel(asked.name(n)) for n in range(asked.models)]
    with pytest.raises(error, match=words) as raised:
        begin(models, asked.rows, asked.metric)
    assert raised.value.hint


# The table


def test_without_expected_answers_there_are_no_scores() -> None:
    table = table_of(begin([ScriptedModel("m")], [Example(1, "a", ""), Example(2, "b", "")]))
    assert table.columns == ("row", "input", "expected", "disagreement", "m", "m tokens", "m error")
    assert (table.metric, table.arms[0].score, table.rows[0].cells[0].score) == ("", None, None)
    assert "score" not in table.to_jsonl()


def test_where_some_are_expected_those_are_scored() -> None:
    table = table_of(begin([ScriptedModel("m", answer=even)], [Example(1, "a", ""), Example(2, "b", "even")]))
    assert [row.cells[0].score for row in table.rows] == [None, 1.0]
    assert table.arms[0].score is not None and table.arms[0].score.n == 1
    assert [row.number for row in table.sorted_by("m score").rows] == [2, 1], "what has no score comes last"
    assert [row.number for row in table.sorted_by("m score", descending=True).rows] == [2, 1]


def test_it_is_sorted_by_any_column() -> None:
    table = written([("beta one", "beta one"), ("Alpha", "zz"), ("gamma one", "gamma two")], "zz")

    def order(column: str, *, descending: bool = False) -> list[int]:
        return [row.number for row in table.sorted_by(column, descending=descending).rows]

    assert order("A") == [2, 1, 3]
    assert order("row", descending=True) == [3, 2, 1]
    assert order("disagreement", descending=True) == [2, 3, 1]
    assert order("B score", descending=True) == [2, 1, 3]
    assert order("B tokens") == [2, 1, 3]
    for column in table.columns:
        assert sorted(order(column)) == [1, 2, 3]
    with pytest.raises(DataError, match="'C'"):
        order("C")


@pytest.mark.parametrize("titles", [("A", "A"), ("input", "row"), ("A", "A score"), ("", "")])
def test_titles_name_columns_that_differ(titles: tuple[str, str]) -> None:
    table = written([("a", "b")], "a", titles)
    assert len(table.columns) == 4 + 2 * 4


NASTY = (
    "=1+1",
    "+49 30",
    "-5",
    "@here",
    "\tx",
    "\r\nx",
    "'=1",
    "''+",
    "'tis",
    'say "hi", then\nleave',
    "a\rb",
    "ünï 漢字 🙂",
    "＝1",
    "",
    " =1",
)


def read_back(text: str) -> list[list[str]]:
    def undone(cell: str) -> str:
        return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(tuple("=+-@\t\r\n＝＋－＠")) else cell

    return [[undone(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""))]


def test_the_csv_runs_nothing_and_reads_back_as_it_was() -> None:
    table = written([(text, text[::-1]) for text in NASTY], "=expected", ("=A", "B"))
    raw = list(csv.reader(io.StringIO(table.to_csv(), newline="")))
    assert not [cell for row in raw for cell in row if cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))]
    header, *rows = read_back(table.to_csv())
    assert tuple(header) == table.columns
    said, other = header.index("=A"), header.index("B")
    assert [(row[said], row[other]) for row in rows] == [(text, text[::-1]) for text in NASTY]
    assert {row[header.index("expected")] for row in rows} == {"=expected"}
    assert [row[header.index("=A score")] for row in rows] == ["0.0"] * len(NASTY)


def test_the_jsonl_has_all_but_the_chat() -> None:
    table = written([("=1", "b\nc"), ("\udc80", "漢")], "b\nc")
    first, second = map(json.loads, table.to_jsonl().splitlines())
    assert (first["row"], first["input"], first["expected"], first["disagreement"]) == (1, "in 1", "b\nc", 1.0)
    assert [answer["text"] for answer in first["answers"]] == ["=1", "b\nc"]
    assert [(answer["arm"], answer["score"]) for answer in first["answers"]] == [("A", 0.0), ("B", 1.0)]
    assert "messages" not in first["answers"][0] and "漢" in table.to_jsonl()
    assert second["answers"][0]["text"] == "\udc80"
    assert table.to_jsonl().encode() and table.to_csv().encode(), "both can be written to a file"


def test_two_sides_that_are_the_same_are_told_once_they_are_known() -> None:
    twins = [arm(ScriptedModel("same")), arm(ScriptedModel("same"))]
    job = ended(run_batch(2, lambda say: twins, ROWS, None, SAMPLING, MemoryShelf()))
    assert "same model with the same prompt. Leave one of them out." in job.error


def test_what_is_waited_for_before_anybody_can_be_asked_is_told() -> None:
    said: list[str] = []
    gate = threading.Event()

    def connect(say: Callable[[str], None]) -> list[Arm]:
        gate.wait(5)
        say("Starting the engine")
        said.append(job.message)
        return [arm(ScriptedModel("one"))]

    job = run_batch(1, connect, ROWS, None, SAMPLING, MemoryShelf())
    gate.set()
    ended(job)
    assert said == ["Starting the engine"] and job.done == len({row.input for row in ROWS})
