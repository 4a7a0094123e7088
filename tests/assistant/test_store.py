"""What is kept, in which order, and what survives: in a file and, where the machine has it, in PostgreSQL.

Longer than 400 lines because each promise of one class is tested in both places, and old schemas are written out.
"""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from assistant.project import LOCAL, DataSource, StoredPrompt, Turn
from assistant.store import Store
from assistant.votes import ArmAnswer, Vote
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
    store.add_vote(project.id, Vote(message="m", answers=answers, verdict="right", blind=True))

    again = Store(where)
    assert again.project(project.id) == project
    assert again.turns(project.id) == [turn]
    [kept] = again.prompts(project.id)
    assert (kept.version, kept.metric, kept.score) == (prompt, "exact match", SCORE)
    [vote] = again.votes(project.id)
    assert (vote.answers, vote.verdict, vote.blind) == (answers, "right", True)
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


# Votes.


def test_a_vote_is_kept_as_it_was_given_and_stamped_where_it_was_not(where: Path | str) -> None:
    store = Store(where)
    id = store.create_project("p").id
    given = Vote(message="m", answers=(), verdict="both bad", voter=" Anna  B ", edited="better", created=12.5)
    assert store.add_vote(id, given) == given
    stamped = store.add_vote(id, Vote(message="n", answers=()))
    assert stamped.created == pytest.approx(time.time(), abs=60)
    assert store.votes(id) == [given, stamped]


def test_a_voter_judges_a_pair_once(where: Path | str) -> None:
    store = Store(where)
    id, other = store.create_project("p").id, store.create_project("q").id
    first = store.add_vote(id, Vote(message="m", answers=(), verdict="left", round="r1"))
    with pytest.raises(RunError, match="the first vote counts") as caught:
        store.add_vote(id, Vote(message="m", answers=(), verdict="right", round="r1"))
    assert "Undo" in caught.value.hint
    second = store.add_vote(id, Vote(message="m", answers=(), voter="anna", round="r1"))
    store.add_vote(other, Vote(message="m", answers=(), round="r1"))
    assert store.votes(id) == [first, second]


def test_a_voter_takes_back_their_own_last_vote(where: Path | str) -> None:
    store = Store(where)
    id = store.create_project("p").id
    mine = [store.add_vote(id, Vote(message=text, answers=())) for text in "ab"]
    hers = store.add_vote(id, Vote(message="c", answers=(), voter="Anna B"))
    assert store.undo_vote(id, "nobody") is None
    assert store.undo_vote(id) == mine[1]
    assert store.undo_vote(id, " Anna  B") == hers, "spelled as votes have it"
    assert store.votes(id) == mine[:1]
    again = store.add_vote(id, mine[1].model_copy(update={"verdict": "left"}))
    assert store.votes(id) == [mine[0], again], "a pair that was taken back can be judged again"
    assert [store.undo_vote(id), store.undo_vote(id), store.undo_vote(id)] == [again, mine[0], None]


def test_of_two_who_take_the_same_vote_back_one_gets_it(where: Path | str) -> None:
    stores = [Store(where) for _ in range(4)]
    id = stores[0].create_project("p").id
    vote = stores[0].add_vote(id, Vote(message="m", answers=()))
    together = threading.Barrier(4)

    def undo(store: Store) -> Vote | None:
        together.wait()
        return store.undo_vote(id)

    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(undo, stores))
    assert sorted(got, key=bool) == [None, None, None, vote]


# Votes one after the other, each id printed once the call has returned, or "-" for one that does not count.
_VOTES = """
import sys
from assistant.store import Store
from assistant.votes import ArmAnswer, Vote
from prompts.errors import RunError
where, project, rounds, count = sys.argv[1:]
store = Store(where)
answers = tuple(ArmAnswer(model=name, prompt_id="p", text=f"{name} said this") for name in ("base", "tuned"))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    vote = Vote(message=f"message {number}", answers=answers, verdict="left", round=f"{rounds}{number}")
    try:
        store.add_vote(project, vote)
    except RunError as error:
        assert "the first vote counts" in str(error), error
        print("-", flush=True)
    else:
        print(vote.id, flush=True)
"""


def _voting(where: Path | str, project: str, rounds: str, count: int) -> subprocess.Popen[str]:
    """A process that votes once it is told to."""
    url = f"sqlite:///{where}" if isinstance(where, Path) else where
    command = [sys.executable, "-c", _VOTES, url, project, rounds, str(count)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline() == "ready\n"
    return child


def _go(*children: subprocess.Popen[str]) -> None:
    for child in children:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()


def test_every_vote_that_was_taken_survives_a_kill(where: Path | str) -> None:
    """A thousand are begun, and the process is killed at one moment or another: what it was told of is there."""
    store = Store(where)
    for moment, seconds in ((1, 0.0), (2, 0.013), (57, 0.0), (301, 0.007), (520, 0.0)):
        id = store.create_project(f"killed at {moment}").id
        with _voting(where, id, "r", 1000) as child:
            _go(child)
            assert child.stdout
            told = [child.stdout.readline() for _ in range(moment)]
            time.sleep(seconds)
            child.kill()
            told += child.stdout.readlines()
        ids = [line.strip() for line in told if line.endswith("\n")]
        kept = [vote.id for vote in Store(where).votes(id)]
        assert len(ids) >= moment and kept[: len(ids)] == ids
        assert len(kept) <= len(ids) + 1, "one may have been kept without a word"


def test_of_two_windows_that_judge_the_same_pairs_each_pair_counts_once(where: Path | str) -> None:
    store = Store(where)
    id = store.create_project("p").id
    with _voting(where, id, "same", 60) as first, _voting(where, id, "same", 60) as second:
        _go(first, second)
        said = [child.stdout.read().split() for child in (first, second) if child.stdout]
    assert all(len(one) == 60 for one in said)
    assert [sum(line != "-" for line in both) for both in zip(*said, strict=True)] == [1] * 60
    counted = {line for one in said for line in one} - {"-"}
    assert {vote.id for vote in store.votes(id)} == counted and len(counted) == 60


def test_of_threads_that_judge_one_pair_at_once_one_counts(where: Path | str) -> None:
    stores = [Store(where) for _ in range(4)]
    id = stores[0].create_project("p").id
    together = threading.Barrier(4)

    def judge(store: Store) -> bool:
        together.wait()
        with suppress(RunError):
            return bool(store.add_vote(id, Vote(message="m", answers=(), round="one")))
        return False

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(judge, stores)) == 1
    assert len(stores[0].votes(id)) == 1


def test_projects_are_found_by_id_and_by_name(where: Path | str) -> None:
    store = Store(where)
    first, second = store.create_project("Tickets", "anna"), store.create_project("tickets")
    gone = store.create_project("Gone")
    store.save(gone.model_copy(update={"deleted": 1.0}))
    assert store.named(first.id) == [first]
    assert {project.id for project in store.named(" TICKETS ")} == {first.id, second.id}
    assert store.named("Gone") == store.named(gone.id) == store.named("nobody") == []


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
_OLD_VOTE = (  # as it was when all that was kept of a judgement was an index
    '{"message":"é %s","answers":[{"model":"base","prompt_id":"p","text":"b"},'
    '{"model":"r","prompt_id":"p","text":"t"}],"choice":%s,"blind":true,"created":1.5}'
)
_OLD_VOTES = [_OLD_VOTE % (choice, choice) for choice in ("0", "1", "null")]


def _write_schema_1(file: Path) -> None:
    file.parent.mkdir(parents=True)
    prompt = PromptVersion(system="old")
    db = sqlite3.connect(file)
    db.executescript("PRAGMA journal_mode = WAL;" + _SCHEMA_1)
    for number, id in enumerate(("aaa", "bbb")):
        db.execute("INSERT INTO project VALUES (?, ?, ?)", (id, 1000.0 + number, _RECORD_1 % (id, f"name {id}")))
        for said in ("one", "two"):
            turn = f'{{"role":"user","text":"{id} {said}","options":["x"]}}'
            db.execute("INSERT INTO turn (project, record) VALUES (?, ?)", (id, turn))
    stored = f'{{"version":{prompt.model_dump_json()},"score":{SCORE.model_dump_json()},"metric":"chrF"}}'
    db.execute("INSERT INTO prompt (project, version, record) VALUES ('aaa', ?, ?)", (prompt.id, stored))
    db.executemany("INSERT INTO vote (project, record) VALUES ('aaa', ?)", [(record,) for record in _OLD_VOTES])
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
    assert_old_votes(store)
    store.add_turn("bbb", Turn(role="user", text="three"))
    assert [turn.text for turn in Store(file).turns("bbb")] == ["bbb one", "bbb two", "three"]


def assert_old_votes(store: Store) -> None:
    """They are there, each of a round of its own, and stay the same each time they are read."""
    votes = store.votes("aaa")
    assert [vote.verdict for vote in votes] == ["left", "right", "tie"]
    assert [vote.message for vote in votes] == ["é 0", "é 1", "é null"]
    assert {(vote.created, vote.blind, vote.voter) for vote in votes} == {(1.5, True, "local")}
    assert len({vote.id for vote in votes}) == len({vote.round for vote in votes}) == 3
    assert store.votes("aaa") == votes
    with pytest.raises(RunError, match="judged this pair already"):
        store.add_vote("aaa", votes[1].model_copy(update={"id": "another"}))
    assert store.undo_vote("aaa") == votes[2]
    assert store.votes("aaa") == votes[:2]


_SCHEMA_3 = """
    CREATE TABLE project (id TEXT PRIMARY KEY, touched DOUBLE PRECISION NOT NULL, record TEXT NOT NULL,
        owner TEXT DEFAULT 'local' NOT NULL, deleted DOUBLE PRECISION);
    CREATE TABLE turn (id {id}, project TEXT NOT NULL REFERENCES project (id), record TEXT NOT NULL);
    CREATE TABLE prompt (id {id}, project TEXT NOT NULL REFERENCES project (id), version TEXT NOT NULL,
        record TEXT NOT NULL, UNIQUE (project, version));
    CREATE TABLE vote (id {id}, project TEXT NOT NULL REFERENCES project (id), record TEXT NOT NULL);
    CREATE INDEX project_of_owner ON project (owner);
    CREATE INDEX turn_of_project ON turn (project);
    CREATE INDEX vote_of_project ON vote (project);
    CREATE TABLE answer (project TEXT NOT NULL REFERENCES project (id), key TEXT NOT NULL, input TEXT NOT NULL,
        record TEXT NOT NULL, PRIMARY KEY (project, key, input));
    CREATE TABLE rating (project TEXT NOT NULL REFERENCES project (id), answer TEXT NOT NULL, grade INTEGER NOT NULL,
        PRIMARY KEY (project, answer));
"""
_TAKEN_3 = {
    "sqlite": "PRAGMA user_version = 3",
    "postgresql": "CREATE TABLE tunewright_migration (number INTEGER PRIMARY KEY); "
    "INSERT INTO tunewright_migration VALUES (1), (2), (3)",
}


def _write_schema_3(where: Path | str) -> None:
    if isinstance(where, Path):
        where.parent.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{where}" if isinstance(where, Path) else where.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    kind = engine.dialect.name
    with engine.begin() as db:
        schema = _SCHEMA_3.format(id="SERIAL PRIMARY KEY" if kind == "postgresql" else "INTEGER PRIMARY KEY")
        for statement in f"{schema}{_TAKEN_3[kind]}".split(";"):
            if statement.strip():
                db.execute(text(statement))
        project = {"id": "aaa", "record": _RECORD_1 % ("aaa", "name aaa")}
        db.execute(text("INSERT INTO project (id, touched, record) VALUES (:id, 1, :record)"), project)
        for record in _OLD_VOTES:
            db.execute(text("INSERT INTO vote (project, record) VALUES ('aaa', :record)"), {"record": record})
    engine.dispose()


def test_votes_of_before_there_were_rounds_are_taken_over(where: Path | str) -> None:
    _write_schema_3(where)
    assert_old_votes(Store(where))
    Store(where).add_vote("aaa", Vote(message="new", answers=(), voter="anna"))
    assert [vote.message for vote in Store(where).votes("aaa")] == ["é 0", "é 1", "new"]


def test_votes_that_have_a_round_already_keep_it_and_none_is_lost(where: Path | str) -> None:
    """As a Tunewright between two releases may have written them: the second one of a round gets one of its own."""
    _write_schema_3(where)
    url = f"sqlite:///{where}" if isinstance(where, Path) else where.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    with engine.begin() as db:
        for voter in ("anna", "anna", "ben"):
            record = Vote(message="m", answers=(), round="same", voter=voter).model_dump_json()
            db.execute(text("INSERT INTO vote (project, record) VALUES ('aaa', :record)"), {"record": record})
    engine.dispose()
    rounds = [(vote.voter, vote.round == "same") for vote in Store(where).votes("aaa")[3:]]
    assert rounds == [("anna", True), ("anna", False), ("ben", True)]


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
    third = tmp_path / "third.sqlite3"
    _write_schema_3(third)
    Store(third)
    assert columns(third) == columns(new)


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
