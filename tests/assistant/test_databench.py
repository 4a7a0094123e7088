"""What a person does with data: fixes that can be undone, rows that are added, and a file that is never changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from assistant.pipeline import Pipeline
from assistant.project import LOCAL, Project
from assistant.projects import Projects
from prompts.errors import DataError
from prompts.versions import Demonstration
from tests.assistant.journey import begin_project, measured, open_pipeline
from trainers.checks.finding import Finding
from trainers.data import Example, Mapping
from trainers.jobs import create_run
from trainers.paths import Paths

TEXTS = {"billing": "the invoice for order {} was wrong, case {}", "returns": "I send item {} back because of {}"}
THINGS = ("kettle", "lamp", "phone", "headset", "printer", "keyboard", "toaster", "router", "camera", "watch", "drill")


def rows() -> list[tuple[str, str]]:
    return [(TEXTS[label].format(one, other), label) for one in THINGS[:6] for other in THINGS for label in TEXTS]


@pytest.fixture
def pipeline(paths: Paths, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    return open_pipeline(paths)[0]


@pytest.fixture
def id(pipeline: Pipeline, tiny_model: Path) -> str:
    return begin_project(pipeline, tiny_model).id


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    path = tmp_path / "dirty.csv"
    clean = rows()
    more = [clean[0], ("mail ann@example.org about it", "billing"), ("nobody answered", "")]
    path.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in [*clean, *more]), "utf-8")
    return path


@pytest.fixture
def project(pipeline: Pipeline, dirty: Path, id: str) -> Project:
    return pipeline.add_file(id, dirty)


def numbered(rows: Iterable[int]) -> list[Example]:
    return [Example(row=row, input="", output="") for row in rows]


def finding(pipeline: Pipeline, project: Project, check: str) -> Finding:
    return next(one for one in pipeline.profile(project).findings if one.check == check)


def test_a_fix_is_a_change_on_top_and_can_be_undone_in_any_order(pipeline: Pipeline, project: Project) -> None:
    id, copy = project.id, pipeline.source(project).path.read_bytes()
    before = pipeline.profile(project)
    pipeline.fix(id, finding(pipeline, project, "duplicates"))
    fixed = pipeline.fix(id, finding(pipeline, pipeline.project(id), "personal_data"))
    assert {one.check for one in pipeline.profile(fixed).findings}.isdisjoint({"duplicates", "personal_data"})
    assert len(pipeline.examples(fixed)) == before.usable - 1
    assert "mail [EMAIL] about it" in [row.input for row in pipeline.examples(fixed)]
    assert pipeline.source(fixed).path.read_bytes() == copy
    undone = pipeline.undo(id, 0)
    assert [edit.action for edit in pipeline.source(undone).edits] == ["mask"]
    assert pipeline.profile(pipeline.undo(id, 0)) == before
    with pytest.raises(DataError, match="undone already"):
        pipeline.undo(id, 0)


def test_what_cannot_be_mended_or_would_leave_nothing_is_refused(pipeline: Pipeline, project: Project) -> None:
    with pytest.raises(DataError, match="Nothing is suggested"):
        pipeline.fix(project.id, Finding(check="c", severity="info", text="."))
    everything = range(1, len(pipeline.table(project)) + 1)
    with pytest.raises(DataError, match="no row at all"):
        pipeline.edit(project.id, "drop_rows", "all", numbered(everything))
    assert pipeline.project(project.id) == project


def test_a_run_sees_exactly_the_rows_that_the_person_sees(pipeline: Pipeline, project: Project) -> None:
    pipeline.fix(project.id, finding(pipeline, project, "personal_data"))
    fixed = pipeline.add_rows(project.id, [Demonstration(input="typed in the chat", output="returns")])
    run = create_run(pipeline.plan(fixed), pipeline.settings.paths)
    for name, part in pipeline.splits(fixed).parts():
        assert run.split(name)[: len(part)] == part
    seen = [row.input for name, _ in pipeline.splits(fixed).parts() for row in run.split(name)]
    assert "typed in the chat" in seen and "mail [EMAIL] about it" in seen
    assert run.plan().data.edits == pipeline.source(fixed).edits


def test_no_fix_moves_a_row_from_the_test_to_the_training(pipeline: Pipeline, project: Project) -> None:
    before = {row.row: name for name, part in pipeline.splits(project).parts() for row in part}
    some = [row.row for row in pipeline.splits(project).test[:10]]
    after = pipeline.edit(project.id, "drop_rows", "ten test rows", numbered(some))
    after = pipeline.add_rows(
        after.id, [Demonstration(input=f"one more {thing}", output="billing") for thing in THINGS]
    )
    for name, part in pipeline.splits(after).parts():
        assert all(before.get(row.row, name) == name for row in part)


def test_inputs_without_any_answer_are_taken_and_nothing_breaks(pipeline: Pipeline, id: str, tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text\n" + "".join(f"{text}\n" for text, _ in rows()), "utf-8")
    project = pipeline.add_file(id, path)
    assert pipeline.source(project).columns == Mapping(input="text", output="")
    assert (len(pipeline.examples(project)), len(pipeline.dataset(project).unanswered)) == (0, len(rows()))
    assert finding(pipeline, project, "unanswered").severity == "warning"
    assert pipeline.rendered_rows(project, 3) == []
    assert pipeline.advice(project).best.kind == "data"
    with pytest.raises(DataError, match="no dev rows to measure on"):
        pipeline.start_measuring(project.id)
    answers = [Example(row=n, input="", output=label) for n, (_, label) in enumerate(rows(), start=1)]
    labelled = pipeline.edit(project.id, "answer", "all of them", answers)
    assert pipeline.project(labelled.id).spec.labels == ("billing", "returns")
    assert all(part for _, part in pipeline.splits(labelled).parts())


def test_a_copy_of_a_project_has_changes_of_its_own(pipeline: Pipeline, project: Project) -> None:
    pipeline.fix(project.id, finding(pipeline, project, "duplicates"))
    copy = Projects(pipeline).duplicate(LOCAL, project.id)
    mine, theirs = pipeline.source(pipeline.project(project.id)), pipeline.source(copy)
    assert [edit.words for edit in mine.edits] == [edit.words for edit in theirs.edits]
    mine.edits[0].rows.unlink()
    assert pipeline.dataset(copy).dropped


def test_a_folder_can_be_copied_with_its_project(pipeline: Pipeline, id: str, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    lines = [f'"{text}",{label}\n' for text, label in rows()]
    (folder / "train.csv").write_text("text,label\n" + "".join(lines[:120]), "utf-8")
    (folder / "test.csv").write_text("text,label\n" + "".join(lines[100:]), "utf-8")
    project = pipeline.add_file(id, folder)
    assert pipeline.source(project).columns.split == "split"
    splits = pipeline.splits(project)
    assert len(splits.test) == len(lines) - 100
    assert len(finding(pipeline, project, "train_and_test").rows) == len(splits.left_out) >= 20
    copy = Projects(pipeline).duplicate(LOCAL, project.id)
    assert pipeline.splits(copy) == splits


def test_a_profile_is_made_in_the_background_once_and_tells_how_far_it_is(pipeline: Pipeline, project: Project) -> None:
    job = pipeline.profiling(project)
    assert pipeline.profiling(project) is job
    assert job.wait(60) and job.result() is pipeline.profile(project)
    assert pipeline.is_divided(project)
    assert job.seconds_left is None or job.seconds_left >= 0


def test_a_profile_that_fails_is_tried_again(
    pipeline: Pipeline, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import assistant.databench as databench

    pipeline.profile(project)
    changed = pipeline.edit(project.id, "drop_rows", "one", numbered([1]))
    with monkeypatch.context() as broken:
        broken.setattr(databench, "profile_data", lambda *_: (_ for _ in ()).throw(DataError("no luck")))
        with pytest.raises(DataError, match="no luck"):
            pipeline.profile(changed)
    assert pipeline.profile(changed).usable == pipeline.profile(project).usable - 1


def test_closing_the_app_ends_a_profile_that_is_under_way(
    pipeline: Pipeline, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import assistant.databench as databench

    def endless(*arguments: object) -> object:
        say = arguments[-1]
        while True:
            say(0.5, "forever")  # type: ignore[operator]
            time.sleep(0.01)

    monkeypatch.setattr(databench, "profile_data", endless)
    job = pipeline.profiling(project)
    while job.what != "forever":
        time.sleep(0.01)
    pipeline.close()
    assert job.wait(5)
