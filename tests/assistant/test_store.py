"""What is kept, in which order, and what survives: in a file and, where the machine has it, in PostgreSQL."""

from __future__ import annotations

import socket
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assistant.project import LOCAL, ArmAnswer, DataSource, StoredPrompt, Turn, Vote
from assistant.store import Store
from prompts.errors import RunError
from prompts.metrics import Score
from prompts.spec import TaskSpec
from prompts.versions import Demonstration, PromptVersion
from tests.assistant.databases import PASSWORD, new_database
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


def test_everything_survives_reopening(where: Path | str) -> None:
    store = Store(where)
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
    store.set_score(project.id, StoredPrompt(version=prompt, metric="exact match", score=SCORE))
    answers = tuple(ArmAnswer(model=name, prompt_id=prompt.id, text=name) for name in ("base", "r"))
    store.add_vote(project.id, Vote(message="m", answers=answers, choice=1, blind=True))

    again = Store(where)
    assert again.project(project.id) == project
    assert again.turns(project.id) == [turn]
    [kept] = again.prompts(project.id)
    assert (kept.version, kept.metric, kept.score) == (prompt, "exact match", SCORE)
    [vote] = again.votes(project.id)
    assert (vote.answers, vote.choice, vote.blind) == (answers, 1, True)
    assert vote.created > 0


def test_projects_come_touched_last_first_and_keep_to_themselves(where: Path | str) -> None:
    store = Store(where)
    first, second = store.create_project("first"), store.create_project("second")
    assert [p.name for p in store.projects()] == ["second", "first"]
    store.save(first)
    assert [p.name for p in store.projects()] == ["first", "second"]
    store.add_turn(first.id, Turn(role="user", text="mine"))
    assert store.turns(second.id) == []
    assert store.project("nonsense") is None


def test_turns_come_in_the_order_they_were_written(where: Path | str) -> None:
    store = Store(where)
    project = store.create_project("p")
    for number in range(20):
        store.add_turn(project.id, Turn(role="user", text=str(number)))
    assert [turn.text for turn in store.turns(project.id)] == [str(n) for n in range(20)]


def test_a_prompt_that_comes_again_keeps_its_place_and_its_score(where: Path | str) -> None:
    store = Store(where)
    project = store.create_project("p")
    first, second = PromptVersion(system="one"), PromptVersion(system="two")
    for version in (first, second):
        store.add_prompt(project.id, version)
    store.set_score(project.id, StoredPrompt(version=first, metric="chrF", score=SCORE))
    store.add_prompt(project.id, first.model_copy(update={"reason": "once more"}))
    assert [(s.version.system, s.score) for s in store.prompts(project.id)] == [("one", SCORE), ("two", None)]


def test_threads_write_at_the_same_time(where: Path | str) -> None:
    store = Store(where)
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


def test_several_may_open_a_new_place_at_once(where: Path | str) -> None:
    together = threading.Barrier(4)

    def open_it(_: int) -> Store:
        together.wait()
        return Store(where)

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


def test_a_turn_of_a_project_that_is_not_there_is_refused(where: Path | str) -> None:
    with pytest.raises(RunError):
        Store(where).add_turn("nonsense", Turn(role="user", text="x"))


# Whose a project is, and what is deleted.


def test_each_user_has_projects_of_their_own(where: Path | str) -> None:
    store = Store(where)
    hers, his, nobodys = store.create_project("a", "anna"), store.create_project("b", "ben"), store.create_project("l")
    assert store.projects("anna") == [hers]
    assert store.projects("ben") == [his]
    assert store.projects() == [nobodys] and nobodys.owner == LOCAL
    assert store.projects("Anna") == [] and store.projects("") == []


def test_what_is_touched_comes_first_and_does_not_change(where: Path | str) -> None:
    store = Store(where)
    first, second = store.create_project("first"), store.create_project("second")
    store.touch(first.id)
    assert store.projects() == [first, second]


def test_a_deleted_project_is_put_away_until_it_is_purged(where: Path | str) -> None:
    store = Store(where)
    kept, old, new = (store.create_project(name) for name in ("kept", "old", "new"))
    now = time.time()
    for project, when in ((old, now - 100), (new, now)):
        store.add_turn(project.id, Turn(role="user", text="x"))
        store.add_prompt(project.id, PromptVersion(system="x"))
        store.add_vote(project.id, Vote(message="m", answers=()))
        store.save(project.model_copy(update={"deleted": when}))
    assert store.projects() == [kept]
    assert [p.name for p in store.projects(deleted=True)] == ["new", "old"]
    assert store.chats(LOCAL) == []
    assert store.purge(before=now - 50) == [old.id]
    assert store.project(old.id) is None
    assert (store.turns(old.id), store.prompts(old.id), store.votes(old.id)) == ([], [], [])
    assert [p.name for p in store.projects(deleted=True)] == ["new"] and len(store.turns(new.id)) == 1
    assert store.purge(before=now - 50) == []


def test_a_copy_has_chat_and_prompts_and_leaves_the_first_alone(where: Path | str) -> None:
    store = Store(where)
    first = store.create_project("first", "anna")
    turns = [Turn(role="user", text=str(number)) for number in range(12)]
    for turn in turns:
        store.add_turn(first.id, turn)
    versions = [PromptVersion(system=text) for text in "abc"]
    for version in versions:
        store.add_prompt(first.id, version)
    store.set_score(first.id, StoredPrompt(version=versions[1], metric="chrF", score=SCORE))
    store.add_vote(first.id, Vote(message="m", answers=()))
    copy = store.duplicate(first.id, first.model_copy(update={"name": "second"}))
    assert copy.id != first.id and (copy.name, copy.owner) == ("second", "anna")
    assert store.turns(copy.id) == turns
    assert store.prompts(copy.id) == store.prompts(first.id) != []
    assert store.votes(copy.id) == []
    store.add_turn(copy.id, Turn(role="user", text="only here"))
    assert store.turns(first.id) == turns
    assert {id for id, _ in store.chats("anna")} == {first.id, copy.id}


# Numbered migrations.

_SCHEMA_1 = """
    CREATE TABLE project (id TEXT PRIMARY KEY, touched REAL NOT NULL, record TEXT NOT NULL);
    CREATE TABLE turn (id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES project, record TEXT NOT NULL);
    CREATE TABLE prompt (
        id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES project, version TEXT NOT NULL, record TEXT NOT NULL,
        UNIQUE (project, version)
    );
    CREATE TABLE vote (id INTEGER PRIMARY KEY, project TEXT NOT NULL REFERENCES project, record TEXT NOT NULL);
    PRAGMA user_version = 1;
"""
_RECORD_1 = (  # written by Tunewright 0.1.0
    '{"id":"%s","name":"%s","created":1.5,"stage":"Data","stage_visits":2,"spec":{"task":"classification",'
    '"labels":["a","b"],"origins":{"task":"said","labels":"said"}},"data":null,"prompt":null,"plan":null,'
    '"run_id":"r1","earlier_runs":["r0"],"announced":"r1"}'
)


def _write_schema_1(file: Path) -> None:
    file.parent.mkdir(parents=True)
    prompt = PromptVersion(system="old")
    vote = Vote(message="m", answers=(ArmAnswer(model="base", prompt_id=prompt.id, text="t"),), choice=0)
    db = sqlite3.connect(file)
    db.executescript("PRAGMA journal_mode = WAL;" + _SCHEMA_1)
    for number, id in enumerate(("aaa", "bbb")):
        db.execute("INSERT INTO project VALUES (?, ?, ?)", (id, 1000.0 + number, _RECORD_1 % (id, f"name {id}")))
        for text in ("one", "two"):
            turn = f'{{"role":"user","text":"{id} {text}","options":["x"]}}'
            db.execute("INSERT INTO turn (project, record) VALUES (?, ?)", (id, turn))
    stored = f'{{"version":{prompt.model_dump_json()},"score":{SCORE.model_dump_json()},"metric":"chrF"}}'
    db.execute("INSERT INTO prompt (project, version, record) VALUES ('aaa', ?, ?)", (prompt.id, stored))
    db.execute("INSERT INTO vote (project, record) VALUES ('aaa', ?)", (vote.model_dump_json(),))
    db.commit()
    db.close()


def test_a_file_from_before_there_were_users_is_taken_over_whole(file: Path) -> None:
    _write_schema_1(file)
    store = Store(file)
    assert [project.name for project in store.projects()] == ["name bbb", "name aaa"]
    project = store.project("aaa")
    assert project is not None
    assert (project.owner, project.deleted, project.created) == (LOCAL, None, 1.5)
    assert (project.stage, project.run_id, project.earlier_runs) == ("Data", "r1", ("r0",))
    assert (project.spec.labels, project.spec.origins["labels"]) == (("a", "b"), "said")
    assert [turn.text for turn in store.turns("aaa")] == ["aaa one", "aaa two"]
    [prompt] = store.prompts("aaa")
    assert (prompt.version.system, prompt.metric, prompt.score) == ("old", "chrF", SCORE)
    assert [vote.choice for vote in store.votes("aaa")] == [0]
    store.add_turn("bbb", Turn(role="user", text="three"))
    assert [turn.text for turn in Store(file).turns("bbb")] == ["bbb one", "bbb two", "three"]


def test_an_old_file_and_a_new_one_end_up_alike(file: Path, tmp_path: Path) -> None:
    _write_schema_1(file)
    Store(file)
    new = tmp_path / "new.sqlite3"
    Store(new)

    def columns(path: Path) -> dict[str, list[tuple[object, ...]]]:
        with sqlite3.connect(path) as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            return {name: db.execute(f"SELECT name, pk FROM pragma_table_info('{name}')").fetchall() for name in tables}

    assert columns(file) == columns(new)


def test_several_may_take_over_an_old_file_at_once(file: Path) -> None:
    _write_schema_1(file)
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: Store(file), range(4)))
    assert all(len(store.projects()) == 2 for store in stores)


def test_a_postgres_database_of_a_newer_version_is_left_alone(postgres: str) -> None:
    import psycopg

    url = new_database(postgres)
    Store(url).create_project("p")
    with psycopg.connect(url) as db:
        db.execute("INSERT INTO tunewright_migration VALUES (99)")
    with pytest.raises(RunError, match="newer Tunewright"):
        Store(url)


# DATABASE_URL.


def test_other_spellings_of_the_url_mean_the_same(postgres: str) -> None:
    url = new_database(postgres)
    project = Store(url).create_project("p")
    assert Store(url.replace("postgresql:", "postgres:")).project(project.id) == project
    assert Store(url.replace("postgresql:", "postgresql+psycopg:")).project(project.id) == project


def test_a_sqlite_url_is_a_file(file: Path) -> None:
    project = Store(f"sqlite:///{file}").create_project("p")
    assert Store(file).project(project.id) == project


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:s3cret@host/base", "names mysql"),
        ("sqlite://", "names sqlite without a database"),
        ("no url, s3cret", "is no database URL"),
        ("postgresql://me:s3cret@host:port/base", "is no database URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_its_password(url: str, said: str) -> None:
    with pytest.raises(RunError, match=said) as caught:
        Store(url)
    assert caught.value.hint
    assert PASSWORD not in str(caught.value)


def test_a_server_that_does_not_answer_is_told_without_the_password() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(RunError, match=f"The database 127.0.0.1:{port}/base cannot be used") as caught:
        Store(f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/base?password={PASSWORD}")
    assert "DATABASE_URL" in caught.value.hint
    assert PASSWORD not in str(caught.value)


def test_a_wrong_password_is_told_and_not_shown(postgres: str) -> None:
    with pytest.raises(RunError, match="authentication failed") as caught:
        Store(f"{postgres}/postgres".replace(PASSWORD, "wr0ng"))
    assert "wr0ng" not in str(caught.value)


def test_a_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RunError, match="driver is not installed") as caught:
        Store("postgresql://host/base")
    assert "psycopg" in caught.value.hint
