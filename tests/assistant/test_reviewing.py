"""Going through rows: which comes next, what a decision does to the data, and what taking it back leaves alone."""

from __future__ import annotations

import csv
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant import databench
from assistant.databench import ANSWERED, PENDING
from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.reviewing.cards import Shown
from assistant.reviewing.reviews import Reviewing
from prompts.errors import DataError
from prompts.versions import Demonstration
from tests.assistant.journey import begin_project, open_pipeline
from trainers.data import Example
from trainers.paths import Paths

WORDS = {
    "billing": "invoice charge refund card payment price bill owed",
    "delivery": "parcel courier late tracking address box door driver",
    "technical": "crash error screen update pairing login freeze bug",
}
NAMES = sorted(WORDS)


def text_of(number: int) -> tuple[str, str]:
    """A made-up ticket that its words give away, and its label."""
    label = NAMES[number % 3]
    return f"{number} {' '.join(random.Random(number).choices(WORDS[label].split(), k=4))}", label


def truth(row: int) -> str:
    return NAMES[(row - 1) % 3]


@pytest.fixture
def pipeline(paths: Paths) -> Pipeline:
    return open_pipeline(paths)[0]


@pytest.fixture
def reviewing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reviewing]:
    """What goes on in the background is soon over, and does not outlive the test."""
    monkeypatch.setattr("assistant.reviewing.session._REST", 0.5)
    reviewing = Reviewing(pipeline)
    yield reviewing
    for project in pipeline.store.projects():
        reviewing.settle(project.id)


def with_data(
    pipeline: Pipeline, model: Path, folder: Path, rows: int, answered: int, wrong: tuple[int, ...] = ()
) -> str:
    """A project with so many rows, the first ones answered, those numbered `wrong` not with the truth."""
    path = folder / "tickets.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(rows):
            text, label = text_of(number)
            label = NAMES[(number + 1) % 3] if number + 1 in wrong else label
            writer.writerow([text, label if number < answered else ""])
    id = begin_project(pipeline, model).id
    pipeline.add_file(id, path)
    return id


def shown(reviewing: Reviewing, pipeline: Pipeline, id: str) -> Shown:
    return reviewing.shown(pipeline.project(id))


def row_of(reviewing: Reviewing, pipeline: Pipeline, id: str) -> int:
    card = shown(reviewing, pipeline, id).card
    assert card is not None
    return card.row


def edits(project: Project) -> list[tuple[str, int]]:
    assert project.data is not None
    return [(edit.action, edit.count) for edit in project.data.edits]


def answers(pipeline: Pipeline, id: str) -> dict[int, str]:
    return {row.row: row.output for row in pipeline.examples(pipeline.project(id))}


# Rows without an answer.


def test_with_no_answer_at_all_nothing_is_proposed_until_there_are_two_kinds(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=12, answered=0)
    first = shown(reviewing, pipeline, id)
    assert first.left == {"unanswered": 12, "doubtful": 0, "written": 0} and first.labels == () and not first.free
    assert first.card is not None and (first.card.row, first.card.guess) == (1, "")
    reviewing.answer(id, 1, "billing")
    assert shown(reviewing, pipeline, id).labels == ("billing",)
    reviewing.answer(id, row_of(reviewing, pipeline, id), "delivery")
    reviewing.settle(id)
    reviewing.answer(id, row_of(reviewing, pipeline, id), "technical")
    reviewing.settle(id)
    card = shown(reviewing, pipeline, id).card
    assert card is not None and card.guess in NAMES and 0 < card.sure <= 1


def test_the_least_certain_row_comes_first_and_what_comes_after_is_promised(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=60, answered=30)
    pipeline.edit(id, "answer", ANSWERED, [Example(31, "", "billing")])
    shown(reviewing, pipeline, id)
    reviewing.settle(id)
    seen = []
    promised = None
    for _ in range(20):
        now = shown(reviewing, pipeline, id)
        assert now.card is not None and (promised is None or now.card == promised)
        seen.append(now.card)
        promised = now.after
        reviewing.answer(id, now.card.row, now.card.guess)
    right = sum(card.guess == truth(card.row) for card in seen)
    assert right >= 15 and shown(reviewing, pipeline, id).right == 20 == shown(reviewing, pipeline, id).guesses
    assert edits(pipeline.project(id)) == [("answer", 21)]


def test_decisions_are_changes_of_the_data_at_once_and_outlive_a_restart(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=20, answered=8)
    decided = []
    for number in range(6):
        row = row_of(reviewing, pipeline, id)
        if number == 3:
            reviewing.drop(id, row)
        else:
            reviewing.answer(id, row, truth(row))
            decided.append(row)
    assert edits(pipeline.project(id)) == [("answer", 5), ("drop_rows", 1)]  # an answer goes past a drop
    again = Pipeline(pipeline.settings, pipeline.engines)
    assert {row: answers(again, id)[row] for row in decided} == {row: truth(row) for row in decided}
    after = Reviewing(again)
    assert shown(after, again, id).left["unanswered"] == 6 and not shown(after, again, id).undo
    reviewing.settle(id)  # by then the task knows of the new examples
    assert pipeline.project(id).spec.examples == 13


def test_a_label_is_spelled_as_before_and_an_empty_one_is_refused(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=20, answered=8)
    row = row_of(reviewing, pipeline, id)
    with pytest.raises(DataError, match="no answer"):
        reviewing.answer(id, row, "  ")
    reviewing.answer(id, row, " BILLING ")
    assert answers(pipeline, id)[row] == "billing"
    row = row_of(reviewing, pipeline, id)
    reviewing.answer(id, row, "quite new")
    assert shown(reviewing, pipeline, id).labels == (*NAMES, "quite new")


def test_a_second_press_on_the_same_row_changes_nothing(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=20, answered=8)
    row = row_of(reviewing, pipeline, id)
    reviewing.answer(id, row, "billing")
    for act in (reviewing.drop, reviewing.keep, reviewing.skip, reviewing.reject, reviewing.approve):
        act(id, row)
    assert edits(pipeline.project(id)) == [("answer", 1)]


def test_skipped_rows_come_back_at_the_end(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=11, answered=8)
    skipped = row_of(reviewing, pipeline, id)
    reviewing.skip(id, skipped)
    assert pipeline.source(pipeline.project(id)).edits == ()
    for _ in range(2):
        row = row_of(reviewing, pipeline, id)
        assert row != skipped
        reviewing.answer(id, row, truth(row))
    card = shown(reviewing, pipeline, id).card
    assert card is not None and card.row == skipped and card.skipped and "skipped" in card.why
    reviewing.skip(id, skipped)
    assert row_of(reviewing, pipeline, id) == skipped
    reviewing.answer(id, skipped, truth(skipped))
    end = shown(reviewing, pipeline, id)
    assert end.card is None and not end.empty and end.done["unanswered"] == 3  # it can still be taken back


def test_answers_that_are_texts_get_no_labels(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "texts.csv"
    lines = "".join(f'question {n},"{f"A long answer, number {n}. " * 4 if n < 15 else ""}"\n' for n in range(20))
    path.write_text("text,answer\n" + lines)
    id = begin_project(pipeline, tiny_model).id
    pipeline.add_file(id, path)
    now = shown(reviewing, pipeline, id)
    assert now.free and now.labels == () and now.card is not None and now.card.guess == ""
    reviewing.answer(id, now.card.row, "First line\nSecond line ")
    assert answers(pipeline, id)[now.card.row] == "First line\nSecond line"


def test_the_last_row_of_all_cannot_be_dropped(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=2, answered=0)
    reviewing.drop(id, row_of(reviewing, pipeline, id))
    with pytest.raises(DataError, match="no row at all"):
        reviewing.drop(id, row_of(reviewing, pipeline, id))


# Rows that may be wrong.


def doubtful(reviewing: Reviewing, pipeline: Pipeline, id: str) -> Shown:
    """What is shown once the profile is known, with the rows that may be wrong on top."""
    pipeline.profile(pipeline.project(id))
    deadline = time.monotonic() + 60
    while not shown(reviewing, pipeline, id).left["doubtful"] and time.monotonic() < deadline:
        time.sleep(0.05)
    reviewing.open(id, "doubtful")
    reviewing.settle(id)
    return shown(reviewing, pipeline, id)


def test_doubted_labels_are_proposed_another_and_kept_ones_are_not_doubted_again(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    wrong = (5, 40, 77, 102)
    id = with_data(pipeline, tiny_model, tmp_path, rows=150, answered=150, wrong=wrong)
    now = doubtful(reviewing, pipeline, id)
    assert now.queue == "doubtful" and 3 <= now.left["doubtful"] <= 6
    first = now.card
    assert first is not None and first.row in wrong
    assert (first.answer, first.guess) == (NAMES[first.row % 3], truth(first.row)) and first.sure > 0.5
    assert "unlike" in first.why
    reviewing.answer(id, first.row, first.guess)
    assert answers(pipeline, id)[first.row] == truth(first.row)
    second = shown(reviewing, pipeline, id).card
    assert second is not None
    reviewing.keep(id, second.row)
    assert answers(pipeline, id)[second.row] == second.answer
    assert edits(pipeline.project(id)) == [("answer", 2)]
    left = shown(reviewing, pipeline, id).left["doubtful"]
    again = Reviewing(pipeline)
    assert doubtful(again, pipeline, id).left["doubtful"] in (left, left + 1, left - 1)  # found anew, with other labels
    rows = set()
    while (card := shown(again, pipeline, id).card) is not None and card.queue == "doubtful":
        rows.add(card.row)
        again.keep(id, card.row)
    assert not rows & {first.row, second.row}


# Rows that a model wrote.


def demonstrations(count: int) -> list[Demonstration]:
    return [Demonstration(input=f"new {n} {text_of(n)[0]}", output=text_of(n)[1]) for n in range(count)]


def test_written_rows_wait_and_are_approved_edited_or_rejected(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=20, answered=20)
    before = len(pipeline.examples(pipeline.project(id)))
    pipeline.keep_pending(id, demonstrations(3))
    pipeline.keep_pending(id, demonstrations(5)[3:])
    project = pipeline.project(id)
    assert [row.row for row in pipeline.pending(project)] == [21, 22, 23, 24, 25]
    assert project.pending and project.pending.words == PENDING and len(pipeline.examples(project)) == before
    now = shown(reviewing, pipeline, id)
    assert now.queue == "written" and now.card is not None and now.card.answer == "billing"
    reviewing.approve(id, 21)
    reviewing.approve(id, 22, "edited input", "technical")
    with pytest.raises(DataError, match="input and an answer"):
        reviewing.approve(id, 23, "edited input", "")
    reviewing.reject(id, 23)
    project = pipeline.project(id)
    assert edits(project) == [("add_rows", 2)] and [row.row for row in pipeline.pending(project)] == [24, 25]
    added = [row for row in pipeline.examples(project) if row.origin == "written"]
    assert [(row.input, row.output) for row in added] == [
        (demonstrations(1)[0].input, "billing"),
        ("edited input", "technical"),
    ]
    assert pipeline.source(project).edits[0].words == "Written by a model, approved by you: 2 rows"
    assert {row.row for row in pipeline.splits(project).train} >= {row.row for row in added}


def test_all_of_them_at_once_and_back(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=20, answered=20)
    pipeline.keep_pending(id, demonstrations(6))
    reviewing.reject(id, row_of(reviewing, pipeline, id))
    reviewing.approve_all(id)
    assert edits(pipeline.project(id)) == [("add_rows", 5)] and pipeline.project(id).pending is None
    assert shown(reviewing, pipeline, id).undo == "5 rows approved"
    reviewing.undo(id)
    assert edits(pipeline.project(id)) == [] and len(pipeline.pending(pipeline.project(id))) == 5
    reviewing.reject_all(id)
    assert pipeline.project(id).pending is None
    reviewing.undo(id)
    reviewing.undo(id)
    assert [row.row for row in pipeline.pending(pipeline.project(id))] == [21, 22, 23, 24, 25, 26]
    assert row_of(reviewing, pipeline, id) == 21


def test_a_pending_row_goes_only_once(pipeline: Pipeline, tiny_model: Path, tmp_path: Path) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=20, answered=20)
    pipeline.keep_pending(id, demonstrations(1))
    [row] = pipeline.pending(pipeline.project(id))
    pipeline.add_rows(id, demonstrations(2))  # may not take the number that the pending row has
    pipeline.approve(id, [row])
    pipeline.learn(id)
    numbers = [row.row for row in pipeline.examples(pipeline.project(id))]
    assert len(numbers) == len(set(numbers)) == 23 and pipeline.project(id).spec.examples == 23
    for act in (lambda: pipeline.approve(id, [row]), lambda: pipeline.reject(id, [row.row])):
        with pytest.raises(DataError, match="already"):
            act()


def test_a_project_from_before_there_were_pending_rows_still_loads(pipeline: Pipeline) -> None:
    project = pipeline.store.create_project("old")
    record = project.model_dump(exclude={"pending"})
    assert Project.model_validate(record) == project


# Taking back.


def test_undo_takes_back_decision_after_decision_across_queues_and_nothing_else(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=24, answered=20)
    pipeline.keep_pending(id, demonstrations(2))
    one = row_of(reviewing, pipeline, id)
    reviewing.answer(id, one, "billing")
    two = row_of(reviewing, pipeline, id)
    reviewing.drop(id, two)
    reviewing.open(id, "written")
    written = row_of(reviewing, pipeline, id)
    reviewing.approve(id, written, None, "technical")
    reviewing.open(id, "unanswered")
    three = row_of(reviewing, pipeline, id)
    reviewing.answer(id, three, "delivery")
    pipeline.edit(id, "drop_rows", "Something else, done meanwhile", [Example(1, "", ""), Example(2, "", "")])
    row_of(reviewing, pipeline, id)
    reviewing.settle(id)  # reading the data again beside an undo may move on to another card
    reviewing.undo(id)
    assert three not in answers(pipeline, id) and row_of(reviewing, pipeline, id) == three
    reviewing.undo(id)
    now = shown(reviewing, pipeline, id)
    assert now.queue == "written" and now.card is not None and now.card.row == written
    assert now.card.answer == demonstrations(1)[0].output  # as it was before it was edited
    reviewing.undo(id)
    assert row_of(reviewing, pipeline, id) == two
    reviewing.undo(id)
    now = shown(reviewing, pipeline, id)
    assert row_of(reviewing, pipeline, id) == one and not now.undo and not any(now.done.values())
    assert [edit.words for edit in pipeline.source(pipeline.project(id)).edits] == ["Something else, done meanwhile"]
    reviewing.undo(id)  # nothing is left to take back
    assert len(answers(pipeline, id)) == 18


def test_a_page_that_read_the_project_before_an_undo_does_not_move_on(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=24, answered=20)
    one = row_of(reviewing, pipeline, id)
    reviewing.answer(id, one, "billing")
    earlier = pipeline.project(id)
    reviewing.undo(id)
    for project in (earlier, pipeline.project(id)):
        card = reviewing.shown(project).card
        assert card is not None and card.row == one


def test_what_the_chat_took_back_is_not_taken_back_twice(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=20, answered=10)
    rows = []
    for _ in range(3):
        rows.append(row_of(reviewing, pipeline, id))
        with pipeline.undoable(id):
            reviewing.answer(id, rows[-1], "billing")
    pipeline.go_back(id)
    assert edits(pipeline.project(id)) == [("answer", 2)]
    assert shown(reviewing, pipeline, id).left["unanswered"] == 8
    reviewing.undo(id)
    assert rows[1] not in answers(pipeline, id) and edits(pipeline.project(id)) == [("answer", 1)]
    assert answers(pipeline, id)[rows[0]] == "billing"


def test_the_signature_tells_when_to_draw_again(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=20, answered=10)
    now = shown(reviewing, pipeline, id)
    reviewing.settle(id)
    first = reviewing.signature(pipeline.project(id))
    assert first == reviewing.signature(pipeline.project(id))
    assert now.card is not None
    reviewing.skip(id, now.card.row)
    assert reviewing.signature(pipeline.project(id)) != first
    assert not reviewing.active(id)
    reviewing.answer(id, row_of(reviewing, pipeline, id), "billing")
    assert reviewing.active(id)


def test_other_data_begins_anew(pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=20, answered=10)
    reviewing.answer(id, row_of(reviewing, pipeline, id), "billing")
    other = tmp_path / "other.csv"
    other.write_text("text,label\n" + "".join(f"{n} words,{'a' if n % 2 else 'b'}\n" for n in range(12)))
    pipeline.add_file(id, other)
    assert shown(reviewing, pipeline, id).empty
    pipeline.start_over(id)
    assert shown(reviewing, pipeline, id).empty


# Many rows.


def test_of_ten_thousand_rows_a_decision_is_quick_and_reads_no_data(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = with_data(pipeline, tiny_model, tmp_path, rows=10_000, answered=60)
    assert shown(reviewing, pipeline, id).left["unanswered"] == 9_940
    reviewing.settle(id)
    reads = []
    load = databench.load_dataset
    monkeypatch.setattr(databench, "load_dataset", lambda *args: reads.append(args) or load(*args))
    monkeypatch.setattr("assistant.reviewing.session._REST", 60)
    spent = []
    for _ in range(30):
        now = shown(reviewing, pipeline, id)
        assert now.card is not None and now.card.guess
        begun = time.perf_counter()
        reviewing.answer(id, now.card.row, now.card.guess)
        shown(reviewing, pipeline, id)
        spent.append(time.perf_counter() - begun)
    assert sorted(spent)[15] < 0.5 and not reads
    monkeypatch.setattr("assistant.reviewing.session._REST", 0)
    assert edits(pipeline.project(id)) == [("answer", 30)]


def test_a_change_holds_only_so_many_decisions(
    pipeline: Pipeline, reviewing: Reviewing, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each decision writes the change's file anew: one with all of them would fill the disk."""
    monkeypatch.setattr("assistant.reviewing.changes._MERGED", 10)
    id = with_data(pipeline, tiny_model, tmp_path, rows=60, answered=30)
    for _ in range(13):
        row = row_of(reviewing, pipeline, id)
        reviewing.answer(id, row, truth(row))
    assert edits(pipeline.project(id)) == [("answer", 10), ("answer", 3)]
    for _ in range(5):
        reviewing.undo(id)
    assert edits(pipeline.project(id)) == [("answer", 8)]
