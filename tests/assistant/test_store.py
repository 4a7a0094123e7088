"""What is kept, in which order, and what survives."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assistant.project import ArmAnswer, DataSource, Turn, Vote
from assistant.store import Store
from prompts.errors import RunError
from prompts.metrics import Score
from prompts.spec import TaskSpec
from prompts.versions import Demonstration, PromptVersion
from trainers.data import Mapping
from trainers.plan import DataPlan, TrainingPlan

SCORE = Score(value=0.5, low=0.3, high=0.7, n=20)
COLUMNS = Mapping(input="text", output="label")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "down" / "tunewright.sqlite3"


def test_an_empty_file_becomes_a_store(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.touch()
    store = Store(file)
    assert store.projects() == []
    with sqlite3.connect(file) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] > 0


def test_everything_survives_reopening(file: Path) -> None:
    store = Store(file)
    prompt = PromptVersion(system="é 日本", demonstrations=(Demonstration(input="a", output="b"),), reason="why")
    data = DataSource(path=Path("/x/y.csv"), name="y.csv", columns=COLUMNS)
    plan = TrainingPlan(data=DataPlan(path=data.path, columns=COLUMNS), prompt=prompt)
    spec = TaskSpec().updated("said", task="classification", labels=("a", "b"), time_budget_minutes=2.5)
    project = store.create_project("One").model_copy(
        update={"spec": spec, "data": data, "prompt": prompt, "plan": plan, "run_id": "r", "stage": "Train"}
    )
    store.save(project)
    turn = Turn(role="assistant", text="line\nline 😀", options=("Yes", "No"))
    store.add_turn(project.id, turn)
    store.add_prompt(project.id, prompt)
    store.set_score(project.id, prompt, "exact match", SCORE)
    answers = tuple(ArmAnswer(model=name, prompt_id=prompt.id, text=name) for name in ("base", "r"))
    store.add_vote(project.id, Vote(message="m", answers=answers, choice=1, blind=True))

    again = Store(file)
    assert again.project(project.id) == project
    assert again.turns(project.id) == [turn]
    [kept] = again.prompts(project.id)
    assert (kept.version, kept.metric, kept.score) == (prompt, "exact match", SCORE)
    [vote] = again.votes(project.id)
    assert (vote.answers, vote.choice, vote.blind) == (answers, 1, True)
    assert vote.created > 0


def test_projects_come_touched_last_first_and_keep_to_themselves(file: Path) -> None:
    store = Store(file)
    first, second = store.create_project("first"), store.create_project("second")
    assert [p.name for p in store.projects()] == ["second", "first"]
    store.save(first)
    assert [p.name for p in store.projects()] == ["first", "second"]
    store.add_turn(first.id, Turn(role="user", text="mine"))
    assert store.turns(second.id) == []
    assert store.project("nonsense") is None


def test_turns_come_in_the_order_they_were_written(file: Path) -> None:
    store = Store(file)
    project = store.create_project("p")
    for number in range(20):
        store.add_turn(project.id, Turn(role="user", text=str(number)))
    assert [turn.text for turn in store.turns(project.id)] == [str(n) for n in range(20)]


def test_a_prompt_that_comes_again_keeps_its_place_and_its_score(file: Path) -> None:
    store = Store(file)
    project = store.create_project("p")
    first, second = PromptVersion(system="one"), PromptVersion(system="two")
    for version in (first, second):
        store.add_prompt(project.id, version)
    store.set_score(project.id, first, "chrF", SCORE)
    store.add_prompt(project.id, first.model_copy(update={"reason": "once more"}))
    assert [(s.version.system, s.score) for s in store.prompts(project.id)] == [("one", SCORE), ("two", None)]


def test_threads_write_at_the_same_time(file: Path) -> None:
    store = Store(file)
    project = store.create_project("p")
    together = threading.Barrier(4)

    def write(name: str) -> None:
        together.wait()
        for number in range(10):
            store.add_turn(project.id, Turn(role="user", text=f"{name}{number}"))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, "abcd"))
    texts = [turn.text for turn in store.turns(project.id)]
    assert sorted(texts) == sorted(f"{name}{n}" for name in "abcd" for n in range(10))
    assert [text for text in texts if text[0] == "a"] == [f"a{n}" for n in range(10)]


def test_several_may_open_a_new_file_at_once(file: Path) -> None:
    together = threading.Barrier(4)

    def open_it(_: int) -> Store:
        together.wait()
        return Store(file)

    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(open_it, range(4)))
    project = stores[0].create_project("p")
    assert all(store.project(project.id) == project for store in stores)


@pytest.mark.parametrize("content", [b"this is no database, but some other file\n" * 20])
def test_a_file_that_is_no_database_is_told_in_one_sentence(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(RunError, match="cannot be used: file is not a database") as caught:
        Store(file)
    assert str(file) in caught.value.message
    assert caught.value.hint
    assert file.read_bytes() == content


def test_a_file_of_a_newer_version_is_left_alone(file: Path) -> None:
    Store(file).create_project("p")
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(RunError, match="newer Tunewright"):
        Store(file)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be made") as caught:
        Store(tmp_path / "file" / "home" / "x.sqlite3")
    assert "TUNEWRIGHT_HOME" in caught.value.hint


def test_a_turn_of_a_project_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(RunError):
        Store(file).add_turn("nonsense", Turn(role="user", text="x"))
