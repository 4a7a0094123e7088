"""`tunewright votes` in a process of its own: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from assistant.project import Project
from assistant.settings import Settings
from assistant.votebench import VoteBench
from assistant.votes import Vote
from tests.assistant.test_cli import ready, the_error, tunewright  # noqa: F401  a fixture, by its name
from tests.assistant.test_votebench import begun, filled, judged, vote_on
from trainers.jobs import list_runs
from trainers.paths import Paths
from trainers.plan import parse_plan


@pytest.fixture
def bench(paths: Paths) -> VoteBench:
    return VoteBench(Settings(paths=paths))


@pytest.fixture
def project(bench: VoteBench, tiny_model: Path) -> Project:
    return bench.change(begun(bench, tiny_model).id, name="Sorting tickets")


def test_votes_are_listed_one_a_line(bench: VoteBench, project: Project) -> None:
    assert tunewright("votes", "list", project.id).stdout == "Nobody has voted yet.\n"
    first = bench.vote(project.id, judged("é one\n two" + " and more" * 20, blind=True, edited="better"))
    second = bench.vote(project.id, judged("short", voter="anna", verdict="both bad"))
    ran = tunewright("votes", "list", "sorting TICKETS")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [first.id, second.id]
    assert "  local  left blind edited  [a | b]  é one two and more" in lines[0] and lines[0].endswith(" …")
    assert lines[1].endswith("  anna  both bad  [a | b]  short")


def test_the_pairs_are_exported_in_trls_format(bench: VoteBench, project: Project, tmp_path: Path) -> None:
    vote_on(bench, project.id, 2)
    bench.vote(project.id, judged("日本?", better="line\none"))
    ran = tunewright("votes", "export", project.id)
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert rows == bench.exported_pairs(project) and len(rows) == 3
    assert rows[2]["prompt"][-1] == {"role": "user", "content": "日本?"}
    file = tmp_path / "deep" / "pairs.jsonl"
    assert tunewright("votes", "export", project.id, "--out", file).stdout == f"3 pairs from 3 votes are in {file}.\n"
    assert file.read_text("utf-8") == ran.stdout


def test_a_vote_is_taken_back(bench: VoteBench, project: Project) -> None:
    mine, hers = bench.vote(project.id, judged("mine")), bench.vote(project.id, judged("hers", voter="anna"))
    ran = tunewright("votes", "undo", project.id)
    assert ran.stdout.startswith(f"taken back: {mine.id}  ")
    assert bench.votes(project) == [hers]
    assert the_error(tunewright("votes", "undo", project.id)).startswith("local has no vote there.")
    assert tunewright("votes", "undo", project.id, "--voter", "anna").returncode == 0
    assert bench.votes(project) == []


def test_a_project_that_is_not_there_or_not_the_only_one(bench: VoteBench, project: Project) -> None:
    assert the_error(tunewright("votes", "list", "nothing")).startswith("There is no project 'nothing'.")
    other = bench.change(bench.store.create_project("x", "anna").id, name="sorting tickets")
    told = the_error(tunewright("votes", "list", "Sorting tickets"))
    assert told.startswith("2 projects have the name") and project.id in told and other.id in told
    assert tunewright("votes", "list", other.id).returncode == 0


def test_a_round_is_printed_as_a_plan_and_nothing_is_started(ready: Paths, bench: VoteBench, project: Project) -> None:  # noqa: F811
    assert the_error(tunewright("votes", "round", project.id)).startswith("Nobody has voted yet.")
    vote_on(bench, project.id, 9)
    ran = tunewright("votes", "round", project.id)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.startswith("Note: 9 pairs are few")
    assert parse_plan(yaml.safe_load(ran.stdout)) == bench.next_round(project.id)
    assert list_runs(ready) == []


def test_a_round_is_trained_and_reported(
    ready: Paths,  # noqa: F811
    bench: VoteBench,
    project: Project,
    tmp_path: Path,
) -> None:
    filled(bench, project.id, tmp_path / "tickets.csv")
    vote_on(bench, project.id, 10)
    ran = tunewright("votes", "round", project.id, "--start")
    assert ran.returncode == 0, ran.stderr
    [run] = list_runs(ready)
    lines = ran.stdout.splitlines()
    assert lines[:2] == [f"run {run.id} in {run.path}", "Note: 10 pairs are few: a round is worth more with 30."]
    report = run.report()
    assert report is not None and report.tuned.n == len(bench.splits(bench.project(project.id)).test)
    assert lines[-1] == f"adapter: {run.adapter}" and any(line.startswith("difference: ") for line in lines)
    assert bench.project(project.id).run_id == run.id
    told = the_error(tunewright("votes", "round", project.id, "--run", "nonsense"))
    assert told.startswith("This run is not there any more.")


def test_a_message_with_a_controlling_sequence_stays_on_its_line(bench: VoteBench, project: Project) -> None:
    bench.vote(project.id, Vote(message="a\r\n\tb", answers=()))
    assert tunewright("votes", "list", project.id).stdout.count("\n") == 1
