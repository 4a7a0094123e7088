"""Real runs of a tiny model in real worker processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from prompts.errors import DataError, RunError
from tests.trainers.runs import Started, file_hashes, wait_for, wait_until_ended, write_tickets
from trainers.data import normal
from trainers.jobs import cancel, create_run, find_run, list_runs, start, status
from trainers.paths import Paths, require_free_space
from trainers.plan import DataPlan, TrainingPlan
from trainers.splits import SPLITS, Shares, Splits
from trainers.status import RunFolder

Plans = Callable[..., TrainingPlan]


# The finished run. Its starter was gone before the training began.


def test_a_run_outlives_its_starter_and_ends_done(trained: Started) -> None:
    now = status(trained.run)
    assert now.state == "done", trained.run.log_tail()
    assert (now.phase, now.fraction, now.seconds_left) == ("finished", 1.0, None)
    assert now.step == now.total_steps == 3 * 12
    assert now.tokens > 0
    assert now.tokens_per_second > 0
    assert now.peak_memory_gb > 0


def test_a_run_is_found_by_id_and_by_path(trained: Started) -> None:
    for name in (trained.run.id, str(trained.run.path)):
        assert find_run(name, trained.paths).path == trained.run.path
    with pytest.raises(RunError, match="no run 'nonsense'"):
        find_run("nonsense", trained.paths)


def test_the_adapter_is_there_and_the_base_model_is_as_it_was(trained: Started) -> None:
    names = {path.name for path in trained.run.adapter.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= names
    assert file_hashes(trained.base) == trained.base_before


def test_the_loss_falls(trained: Started) -> None:
    metrics = trained.run.metrics()
    losses = [line["loss"] for line in metrics if "loss" in line]
    dev = [line["eval_loss"] for line in metrics if "eval_loss" in line]
    assert len(losses) == 36
    assert len(dev) == 3
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert dev[-1] < dev[0]
    assert [line["step"] for line in metrics if "loss" in line] == list(range(1, 37))


def test_the_splits_are_disjoint_and_sized_by_the_shares(trained: Started) -> None:
    splits = {name: trained.run.split(name) for name in SPLITS}
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 48, "dev": 8, "test": 20, "arena": 4}
    inputs = [normal(example.input) for rows in splits.values() for example in rows]
    assert len(set(inputs)) == len(inputs) == 80


def test_the_report_counts_the_test_rows_and_agrees_with_the_predictions(trained: Started) -> None:
    report, predictions = trained.run.report(), trained.run.predictions()
    assert report is not None
    assert [p.row for p in predictions] == [e.row for e in trained.run.split("test")]
    assert report.tuned.n == report.base.n == report.comparison.n == len(predictions) == 20
    assert report.tuned.value == sum(p.tuned_score for p in predictions) / 20
    assert report.base.value == sum(p.base_score for p in predictions) / 20
    assert report.tuned.value > 0.9 > report.base.value, "a random base knows nothing, the tuned one learnt it"
    assert report.comparison.verdict == "better"
    assert report.prompt_id == trained.run.plan().prompt.id
    assert (report.train_rows, report.seed) == (48, 3)
    assert report.train_tokens > 0
    assert {score.label: score.n for score in report.labels} == {"billing": 10, "returns": 10}


# Runs that end otherwise.


def training(run: RunFolder) -> Callable[[], bool]:
    return lambda: status(run).step >= 1 or status(run).state == "failed"


def test_a_cancelled_run_ends_cancelled_within_seconds(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = create_run(tiny_plan(epochs=100), measured_paths)
    start(run)
    wait_for(training(run), "training step")
    cancel(run)
    asked = time.monotonic()
    ended = wait_until_ended(run, 20)
    assert ended.state == "cancelled", run.log_tail()
    assert time.monotonic() - asked < 10
    assert ended.message == "Cancelled."
    assert ended.seconds_left is None
    assert run.metrics(), "what it logged so far stays"
    cancel(run)  # harmless now
    assert status(run).state == "cancelled"


def test_a_run_may_be_cancelled_at_once(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = create_run(tiny_plan(), measured_paths)
    cancel(run)  # not started: nothing to stop
    assert status(run).state == "queued"
    start(run)
    cancel(run)
    assert wait_until_ended(run, 20).state == "cancelled"


def test_a_killed_worker_shows_as_failed_with_a_hint_and_the_log(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = create_run(tiny_plan(epochs=100), measured_paths)
    start(run)
    wait_for(training(run), "training step")
    os.kill(json.loads((run.path / "worker.json").read_text())["pid"], signal.SIGKILL)
    ended = wait_until_ended(run, 20)
    assert ended.state == "failed"
    assert "killed" in ended.message
    assert str(run.log) in ended.hint
    assert run.log.is_file()
    assert run.written_status().state == "running", "the worker itself could not say so"


def test_another_process_with_the_same_id_is_not_taken_for_the_worker(tiny_plan: Plans, paths: Paths) -> None:
    run = create_run(tiny_plan(), paths)
    me = psutil.Process()
    record = run.path / "worker.json"
    record.write_text(json.dumps({"pid": me.pid, "born": me.create_time()}))
    assert status(run).state == "queued"
    record.write_text(json.dumps({"pid": me.pid, "born": me.create_time() - 100}))
    assert status(run).state == "failed"
    cancel(run)  # must not signal this very process


@pytest.mark.parametrize(
    ("base_model", "words"),
    [
        ("/no/such/model", "There is no base model '/no/such/model'"),
        ("{broken}", "model.safetensors is damaged"),
    ],
)
def test_a_model_that_cannot_be_had_fails_in_one_sentence(
    tiny_plan: Plans, tiny_model: Path, measured_paths: Paths, tmp_path: Path, base_model: str, words: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:1000])
    run = create_run(tiny_plan(base_model=base_model.format(broken=broken)), measured_paths)
    start(run)
    ended = wait_until_ended(run)
    assert ended.state == "failed"
    assert words in ended.message
    assert "\n" not in ended.message
    assert ended.hint
    assert "Traceback" in run.log_tail(200), "the log has the whole story"


def test_rows_longer_than_max_tokens_fail_with_a_way_out(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = create_run(tiny_plan(max_tokens=16), measured_paths)
    start(run)
    ended = wait_until_ended(run)
    assert ended.state == "failed"
    assert "no answer is left to learn from" in ended.message
    assert "max_tokens" in ended.hint


def test_a_folder_named_like_ours_where_the_person_works_is_not_run(
    tiny_plan: Plans, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("trainers", "prompts"):
        (tmp_path / "work" / name).mkdir(parents=True)
        (tmp_path / "work" / name / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path / "work")
    run = create_run(tiny_plan(base_model="/no/such/model"), paths)
    start(run)
    assert "There is no base model" in wait_until_ended(run).message


# Before a run begins.


def with_own_test(plan: TrainingPlan, folder: Path, rows: int) -> DataPlan:
    """The plan's rows as train.csv, and the first of them once more as test.csv."""
    folder.mkdir()
    shutil.copy(plan.data.path, folder / "train.csv")
    write_tickets(folder / "test.csv", rows=rows)
    columns = plan.data.columns.model_copy(update={"split": "split"})
    return plan.data.model_copy(update={"path": folder, "columns": columns})


def test_a_separate_test_file_is_used_whole_and_kept_out_of_the_rest(
    tiny_plan: Plans, paths: Paths, tmp_path: Path
) -> None:
    plan = tiny_plan()
    data = with_own_test(plan, tmp_path / "both", 10).model_copy(update={"max_train_rows": 30})
    run = create_run(plan.model_copy(update={"data": data}), paths)
    splits = {name: run.split(name) for name in SPLITS}
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 30, "dev": 7, "test": 10, "arena": 3}
    held = {normal(example.input) for example in splits["test"]}
    assert not held & {normal(e.input) for name in ("train", "dev", "arena") for e in splits[name]}


def test_a_run_can_be_measured_on_the_rows_of_another_but_for_those_it_trains_on(
    tiny_plan: Plans, paths: Paths, tmp_path: Path
) -> None:
    plan = tiny_plan()
    first = create_run(plan, paths)
    test, arena = first.split("test"), first.split("arena")
    held_out = Splits(train=first.split("train"), test=test, arena=arena)
    new = tmp_path / "new.csv"
    new.write_text(f"text,label\n{test[3].input.upper()},billing\n{arena[0].input},returns\nquite another,billing\n")
    shares = Shares(train=1.0, dev=0.0, test=0.0, arena=0.0)
    data = plan.data.model_copy(update={"path": new, "shares": shares})
    run = create_run(plan.model_copy(update={"data": data}), paths, held_out=held_out)
    assert len(run.split("train")) == 3 and run.split("dev") == ()
    assert run.split("test") == (*test[:3], *test[4:])
    assert run.split("arena") == arena[1:]


def test_data_that_leaves_nothing_to_train_on_is_refused(tiny_plan: Plans, paths: Paths, tmp_path: Path) -> None:
    plan = tiny_plan()
    data = with_own_test(plan, tmp_path / "both", 1000)
    with pytest.raises(DataError, match="no row to train on"):
        create_run(plan.model_copy(update={"data": data}), paths)
    assert list_runs(paths) == []


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        require_free_space(tmp_path, 1e18, "A training run")
    assert "A training run needs about 1000000000.0 GB" in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert "TUNEWRIGHT_HOME" in caught.value.hint


def test_runs_are_listed_newest_first(tiny_plan: Plans, paths: Paths) -> None:
    assert list_runs(paths) == []
    first = create_run(tiny_plan(), paths)
    older = paths.runs / ("20200101" + first.id[8:])
    shutil.copytree(first.path, older)
    assert [run.id for run in list_runs(paths)] == [first.id, older.name]
