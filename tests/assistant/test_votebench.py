"""From votes to a better model: what is asked next, the pairs, the plan of a round, and a round that is trained."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from assistant.project import Project
from assistant.settings import Settings
from assistant.votebench import FEWEST_PAIRS, VoteBench
from assistant.votes import ArmAnswer, Vote
from assistant.workbench import NEW_PROJECT
from prompts.errors import DataError, RunError
from prompts.versions import Demonstration, PromptVersion
from tests.trainers.runs import file_hashes, wait_until_ended, write_tickets
from trainers import jobs
from trainers.data import guess_mapping, normal
from trainers.dataset import Dataset, load_dataset
from trainers.hardware import choose_compute
from trainers.objectives import DpoObjective
from trainers.paths import Paths
from trainers.plan import TrainingPlan, parse_plan
from trainers.reading import read_table
from trainers.splits import Shares, Splits
from trainers.status import RunFolder, RunStatus
from trainers.strategies import AnyStrategy, FewShotStrategy, FullStrategy, LoraStrategy, PromptTuningStrategy

_SHARES = Shares(train=0.5, dev=0.1, test=0.2, arena=0.2)
_WORDS = ("apple", "river", "stone", "music", "window", "garden", "paper", "silver", "winter", "orange", "bridge")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which this machine is measured already."""
    folder = tmp_path_factory.getbasetemp() / "measured"
    choose_compute(folder)
    return folder


@pytest.fixture
def bench(paths: Paths, machine: Path) -> VoteBench:
    shutil.copytree(machine, paths.cache)
    return VoteBench(Settings(paths=paths, engine="embedded"))


def begun(bench: VoteBench, model: Path) -> Project:
    project = bench.store.create_project(NEW_PROJECT)
    return bench.edit_spec(project.id, {"base_model": str(model), "description": "Sort tickets", "task": "chat"})


@pytest.fixture
def id(bench: VoteBench, tiny_model: Path) -> str:
    """A project on the tiny model, without data."""
    return begun(bench, tiny_model).id


@pytest.fixture
def with_data(bench: VoteBench, id: str, tmp_path: Path) -> Project:
    return filled(bench, id, tmp_path / "tickets.csv")


def filled(bench: VoteBench, id: str, file: Path) -> Project:
    """The project with 60 tickets, a fifth of them for the arena, and a plan of one epoch."""
    project = bench.add_file(id, write_tickets(file, rows=60))
    plan = bench.plan(project)
    parts = {
        "data": plan.data.model_copy(update={"shares": _SHARES}),
        "training": plan.training.model_copy(update={"epochs": 1.0, "learning_rate": 5e-3}),
    }
    return bench.set_plan(id, plan.model_copy(update=parts))


def judged(message: str, better: str = "billing", worse: str = "returns", **more: Any) -> Vote:
    answers = tuple(ArmAnswer(model=model, prompt_id="p", text=text) for model, text in (("a", better), ("b", worse)))
    return Vote.model_validate({"message": message, "answers": answers, "verdict": "left", **more})


def vote_on(bench: VoteBench, id: str, count: int) -> list[Vote]:
    """Votes on messages that have little in common."""
    words = (" ".join(_WORDS[(n + 1) * step % len(_WORDS)] for step in (1, 4, 7)) for n in range(count))
    return [bench.vote(id, judged(f"{text} {n}?")) for n, text in enumerate(words)]


def left(bench: VoteBench, id: str, strategy: AnyStrategy | None = None, **config: Any) -> RunFolder:
    """A run of the project that nobody trained, with what a worker would have left."""
    plan = bench.plan(bench.project(id))
    run = jobs.create_run(plan.model_copy(update={"strategy": strategy or plan.strategy}), bench.settings.paths)
    if isinstance(strategy, FewShotStrategy):
        run.write_prompt(plan.prompt.revised(demonstrations=(Demonstration(input="i", output="o"),), reason="shown"))
    elif isinstance(strategy, FullStrategy):
        shutil.copytree(Path(plan.base_model), run.model)
    else:
        run.adapter.mkdir()
        r = getattr(run.plan().strategy, "r", 8)
        kept = {"r": r, "lora_alpha": 2.0 * r, **config}
        (run.adapter / "adapter_config.json").write_text(json.dumps(kept))
    run.write_status(RunStatus(state="done"))
    before = bench.project(id)
    earlier = (*before.earlier_runs, before.run_id) if before.run_id else ()
    bench.change(id, run_id=run.id, earlier_runs=earlier)
    return run


def rows_of(plan: TrainingPlan) -> list[dict[str, str]]:
    return [json.loads(line) for line in plan.data.path.read_text("utf-8").splitlines()]


# Votes.


def test_votes_are_kept_counted_once_and_taken_back(bench: VoteBench, id: str) -> None:
    first, second = bench.vote(id, judged("one", round="r")), bench.vote(id, judged(" Two", voter="anna"))
    assert bench.votes(bench.project(id)) == [first, second]
    assert bench.voted_inputs(bench.project(id)) == {"one", "two"}
    with pytest.raises(RunError, match="the first vote counts"):
        bench.vote(id, judged("one", round="r"))
    assert bench.undo_vote(id, "anna") == second
    assert bench.undo_vote(id, "anna") is None
    for wrong in (lambda: bench.vote("nobody", judged("x")), lambda: bench.undo_vote("nobody")):
        with pytest.raises(RunError, match="does not exist"):
            wrong()


def test_what_nobody_has_seen_is_asked_next_always_in_the_same_order(bench: VoteBench, with_data: Project) -> None:
    run = left(bench, with_data.id)
    project = bench.project(with_data.id)
    inputs = bench.unseen_inputs(project, run)
    assert sorted(inputs) == sorted(row.input for row in run.split("arena")) and len(inputs) == 12
    assert bench.unseen_inputs(project, None) == bench.unseen_inputs(project, None) != []
    for number in (3, 0):
        bench.vote(project.id, judged(inputs[number].upper(), verdict="tie"))
    assert bench.unseen_inputs(project, run) == [text for n, text in enumerate(inputs) if n not in (0, 3)]


def test_without_data_there_is_nothing_to_ask(bench: VoteBench, id: str) -> None:
    assert bench.unseen_inputs(bench.project(id), None) == []


# The plan of a round.


def test_too_few_pairs_are_told_with_how_many_are_missing(bench: VoteBench, id: str) -> None:
    with pytest.raises(DataError, match="Nobody has voted yet"):
        bench.next_round(id)
    with pytest.raises(DataError, match="Nobody has voted yet"):
        bench.exported_pairs(bench.project(id))
    vote_on(bench, id, FEWEST_PAIRS - 1)
    bench.vote(id, judged("no pair", verdict="tie"))
    with pytest.raises(DataError, match=r"8 votes made 7 pairs .* needs 8: 1 more is missing") as caught:
        bench.next_round(id)
    assert "A tie or two bad answers teach nothing" in caught.value.hint
    bench.vote(id, judged("a better one", verdict="both bad", edited="technical"))
    plan = bench.next_round(id)
    assert len(rows_of(plan)) == FEWEST_PAIRS + 1
    assert bench.prepare_round(id).warnings[0] == "9 pairs are few: a round is worth more with 30."


def test_a_round_goes_on_from_the_run_that_is_shown(bench: VoteBench, with_data: Project) -> None:
    id = with_data.id
    first, second = left(bench, id, LoraStrategy(r=4)), left(bench, id)
    vote_on(bench, id, 40)
    before = bench.project(id)
    ready = bench.prepare_round(id)
    plan, parent = ready.plan, second.plan()
    assert (plan.parent, plan.base_model, plan.prompt) == (second.path, parent.base_model, parent.prompt)
    assert isinstance(plan.objective, DpoObjective) and plan.evaluation == parent.evaluation
    assert isinstance(plan.strategy, LoraStrategy) and plan.strategy.r == parent.strategy.r  # type: ignore[union-attr]
    assert plan.training.learning_rate < parent.training.learning_rate
    assert ready.warnings == ()
    splits = jobs.splits_for(plan, pairs_of(plan), ready.held_out)
    assert (len(splits.train), len(splits.dev)) == (36, 4)
    assert (splits.test, splits.arena) == (second.split("test"), second.split("arena"))
    assert bench.project(id) == before, "nothing is started, and nothing changes"
    bench.show_run(id, first.id)
    assert bench.next_round(id).parent == first.path
    assert bench.next_round(id, second.id).parent == second.path


def pairs_of(plan: TrainingPlan) -> Dataset:
    return load_dataset(plan.data.path, plan.data.columns)


def test_the_pairs_are_a_file_named_by_its_content_that_reads_as_preferences(bench: VoteBench, id: str) -> None:
    vote_on(bench, id, 9)
    odd = judged('line\u2028one\n"two" ', better=" [1, 2] ", worse="null")
    bench.vote(id, odd)
    plan = bench.next_round(id)
    assert plan.data.path.parent == bench.settings.paths.files / id / "votes"
    assert guess_mapping(read_table(plan.data.path)) == plan.data.columns
    row = next(row for row in pairs_of(plan).examples if row.input == odd.message)
    assert (row.output, row.rejected) == ("[1, 2]", "null")
    assert bench.next_round(id).data.path == plan.data.path
    vote_on(bench, id, 11)
    assert bench.next_round(id).data.path != plan.data.path and plan.data.path.exists()


def test_the_plan_as_a_file_says_where_all_comes_from(bench: VoteBench, with_data: Project) -> None:
    id = with_data.id
    run = left(bench, id)
    vote_on(bench, id, 10)
    ready = bench.prepare_round(id)
    assert parse_plan(yaml.safe_load(ready.text)) == ready.plan
    lines = {line.strip().partition(":")[0]: line for line in ready.text.splitlines()}
    assert lines["path"].endswith("# 10 pairs from 10 votes")
    assert lines["parent"].endswith(f"# {run.name}")
    assert f"the test rows of {run.id}" in lines["shares"] and "a fortieth" in lines["learning_rate"]


def test_without_a_run_a_round_begins_from_the_base_and_is_measured_on_the_projects_own_rows(
    bench: VoteBench, with_data: Project
) -> None:
    vote_on(bench, with_data.id, 12)
    ready = bench.prepare_round(with_data.id)
    own = bench.splits(with_data)
    assert ready.plan.parent is None and isinstance(ready.plan.strategy, LoraStrategy)
    assert (ready.held_out.test, ready.held_out.arena) == (own.test, own.arena)
    assert ready.plan.prompt == with_data.prompt
    assert ready.plan.evaluation.metric == bench.metric(with_data)


def test_without_data_a_round_has_no_report(bench: VoteBench, id: str) -> None:
    vote_on(bench, id, 12)
    ready = bench.prepare_round(id)
    assert ready.held_out == Splits(train=()) and ready.plan.parent is None
    assert "votes round --start" not in ready.text


def test_messages_that_cannot_be_parted_leave_no_dev_rows(bench: VoteBench, id: str) -> None:
    for number in range(9):
        bench.vote(id, judged("the same message", better=f"A{number}"))
    ready = bench.prepare_round(id)
    assert ready.plan.data.shares.train == 1.0
    assert any("no dev rows" in warning for warning in ready.warnings)


@pytest.mark.parametrize("strategy", [FullStrategy(), LoraStrategy(r=4, use_rslora=True)], ids=lambda one: one.type)
def test_a_round_goes_on_as_what_its_parent_is(bench: VoteBench, with_data: Project, strategy: AnyStrategy) -> None:
    rslora = {"use_rslora": True} if isinstance(strategy, LoraStrategy) else {}
    run = left(bench, with_data.id, strategy, **rslora)
    vote_on(bench, with_data.id, 12)
    plan = bench.next_round(with_data.id)
    assert plan.parent == run.path and plan.strategy == run.plan().strategy.model_copy(
        update={"alpha": 8.0} if rslora else {}
    )


def test_a_parent_whose_first_values_came_from_the_base_goes_on_with_the_rank_it_has_by_now(
    bench: VoteBench, with_data: Project
) -> None:
    left(bench, with_data.id, LoraStrategy(r=4, alpha=8, init="pissa"), r=8, lora_alpha=16)
    vote_on(bench, with_data.id, 12)
    strategy = bench.next_round(with_data.id).strategy
    assert isinstance(strategy, LoraStrategy)
    assert (strategy.r, strategy.alpha, strategy.init) == (8, 16, "default")


@pytest.mark.parametrize("strategy", [FewShotStrategy(), PromptTuningStrategy(init="random")], ids=lambda one: one.type)
def test_what_no_training_can_begin_from_is_told(bench: VoteBench, with_data: Project, strategy: AnyStrategy) -> None:
    id = with_data.id
    run = left(bench, id, strategy)
    vote_on(bench, id, 12)
    ready = bench.prepare_round(id)
    assert ready.plan.parent is None and ready.plan.prompt == run.result_prompt()
    assert any("no training can begin from: this one begins from the base" in told for told in ready.warnings)
    assert ready.held_out.test == run.split("test")
    with pytest.raises(DataError, match="which no training can begin from"):
        bench.next_round(id, run.id)
    with pytest.raises(RunError, match="not there any more"):
        bench.next_round(id, "nonsense")


def test_a_parent_whose_adapter_is_gone_is_told(bench: VoteBench, with_data: Project) -> None:
    id = with_data.id
    run = left(bench, id)
    vote_on(bench, id, 12)
    shutil.rmtree(run.adapter)
    for asked in (None, run.id):
        with pytest.raises(DataError, match="there is no result in") as caught:
            bench.next_round(id, asked)
        assert str(run.path) in caught.value.message
    with pytest.raises(DataError):
        bench.start_next_round(id)
    assert [one.id for one in jobs.list_runs(bench.settings.paths)] == [run.id]
    assert len(bench.exported_pairs(bench.project(id))) == 12, "the pairs need no run"


def test_a_message_that_went_on_with_a_chat_is_exported_and_not_trained_on(bench: VoteBench, id: str) -> None:
    prompt = bench.project(id).prompt or PromptVersion()
    chat = tuple(prompt.messages("why?", [("is it so?", "yes")]))
    answers = tuple(ArmAnswer(model=m, prompt_id=prompt.id, text=f"said {m}", messages=chat) for m in "ab")
    bench.vote(id, Vote(message="why?", answers=answers, verdict="left"))
    vote_on(bench, id, 10)
    ready = bench.prepare_round(id)
    assert ready.pairs == 10 and "why?" not in [row["input"] for row in rows_of(ready.plan)]
    assert any(told.startswith("1 pair is left out") for told in ready.warnings)
    rows = bench.exported_pairs(bench.project(id))
    assert len(rows) == 11 and [turn["content"] for turn in rows[0]["prompt"]][-3:] == ["is it so?", "yes", "why?"]


# A round that is trained.


@dataclass(frozen=True)
class Rounds:
    """A run of examples, votes on what it was never trained on, and the round of preferences that follows."""

    bench: VoteBench
    id: str
    first: RunFolder
    before: Project
    adapter_before: dict[str, str]
    voted: tuple[str, ...]
    second: RunFolder


@pytest.fixture(scope="module")
def rounds(machine: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    root = tmp_path_factory.mktemp("rounds")
    paths = Paths(home=root / "home", cache=root / "cache")
    shutil.copytree(machine, paths.cache)
    bench = VoteBench(Settings(paths=paths, engine="embedded"))
    with pytest.MonkeyPatch.context() as environment:  # the worker finds its folders there
        environment.setenv("TUNEWRIGHT_HOME", str(paths.home))
        environment.setenv("TUNEWRIGHT_CACHE", str(paths.cache))
        project = filled(bench, begun(bench, tiny_model).id, root / "tickets.csv")
        first = bench.start_training(project.id)
        assert wait_until_ended(first).state == "done", first.log_tail()
        inputs = [row.input for row in first.split("arena")[:9]]
        inputs.append(first.split("test")[0].input)  # somebody typed the very words of a test row
        for text in inputs:
            bench.vote(project.id, judged(text, better="billing" if "billing" in text else "returns", worse="the"))
        before, adapter = bench.project(project.id), file_hashes(first.adapter)
        second = bench.start_next_round(project.id)
        assert wait_until_ended(second).state == "done", second.log_tail()
    return Rounds(bench, project.id, first, before, adapter, tuple(inputs), second)


def test_a_round_trains_the_parents_adapter_on_and_leaves_the_parent_alone(rounds: Rounds) -> None:
    first, second = rounds.first, rounds.second
    assert second.plan().parent == first.path and second.artefact == second.adapter
    assert file_hashes(first.adapter) == rounds.adapter_before
    weights = "adapter_model.safetensors"
    assert file_hashes(second.adapter)[weights] != rounds.adapter_before[weights]
    configs = [json.loads((run.adapter / "adapter_config.json").read_text()) for run in (first, second)]
    assert configs[0]["r"] == configs[1]["r"]
    assert any("rewards/margins" in line for line in second.metrics())
    losses = [line["loss"] for line in second.metrics() if "loss" in line]
    assert losses[0] == pytest.approx(0.693, abs=0.02), "its reference is the parent"


def test_its_report_is_on_the_parents_own_test_rows_but_for_one_it_was_trained_on(rounds: Rounds) -> None:
    typed, *rest = rounds.first.split("test")
    assert rounds.second.split("test") == tuple(rest)
    assert [row.row for row in rounds.second.predictions()] == [row.row for row in rest]
    before, after = rounds.first.report(), rounds.second.report()
    assert before is not None and after is not None
    assert (after.metric, after.tuned.n, after.train_rows) == (before.metric, len(rest), 9)
    trained = {normal(row.input) for name in ("train", "dev") for row in rounds.second.split(name)}
    assert len(rounds.second.split("dev")) == 1
    assert trained == {normal(text) for text in rounds.voted} and normal(typed.input) in trained
    base = {row.row: row.base for row in rounds.first.predictions()}
    assert all(row.base == base[row.row] for row in rounds.second.predictions()), "the same base, the same prompt"


def test_its_arena_has_what_nobody_has_voted_on(rounds: Rounds) -> None:
    kept = rounds.first.split("arena")[9:]
    assert rounds.second.split("arena") == kept != ()
    project = rounds.bench.project(rounds.id)
    assert set(rounds.bench.unseen_inputs(project, rounds.second)) == {row.input for row in kept}
    assert set(rounds.bench.unseen_inputs(project, rounds.first)) == {row.input for row in kept}


def test_it_is_a_run_of_its_own_and_the_next_round_goes_on_from_it(rounds: Rounds) -> None:
    project = rounds.bench.project(rounds.id)
    assert project.plan == rounds.before.plan and project.prompt == rounds.before.prompt
    assert (project.run_id, project.earlier_runs) == (rounds.second.id, (rounds.first.id,))
    assert rounds.second.name == "votes: 10 pairs"
    assert any("10 pairs are few" in note for note in rounds.second.written_status().notes)
    ready = rounds.bench.prepare_round(rounds.id)
    assert ready.plan.parent == rounds.second.path
    assert ready.held_out.test == rounds.first.split("test")[1:]
