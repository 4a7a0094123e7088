"""Trials as a process: whole rounds of the tiny model, stopped, killed and gone on with, and what cannot begin."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from prompts.allowed import Allowed
from prompts.errors import DataError, ModelError, PlanError, RunError
from prompts.versions import PromptVersion
from tests.trainers.runs import wait_for
from trainers import jobs
from trainers.hardware import detect
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.ray_cluster import Cluster
from trainers.strategies import AnyStrategy, FewShotStrategy, LoraStrategy, PromptStrategy, PromptTuningStrategy
from trainers.trials import life
from trainers.trials.folder import ENDED, TrialsFolder
from trainers.trials.records import Candidate, TrialOrder, TrialsStatus, Try
from trainers.trials.runs import trial_of
from trainers.trials.worker import Round, _carried_out

Plans = Callable[..., TrainingPlan]
PROMPT = PromptVersion(system="label the support ticket", allowed=Allowed(choices=("billing", "returns")))
PRICES = {"prompt": 1.0, "few_shot": 2.0, "prompt_tuning": 20.0, "lora": 30.0}


def order_of(plan: TrainingPlan, *strategies: AnyStrategy, minutes: float = 10, **more: Any) -> TrialOrder:
    plan = plan.model_copy(update={"prompt": PROMPT})
    candidates = [
        Candidate(
            key=strategy.type,
            title=strategy.brief,
            plan=plan.model_copy(update={"strategy": strategy}),
            price=PRICES[strategy.type],
        )
        for strategy in strategies
    ]
    return TrialOrder(candidates=tuple(candidates), budget_minutes=minutes, **more)


def ended(folder: TrialsFolder, seconds: float = 120) -> TrialsStatus:
    wait_for(lambda: life.status(folder).state in ENDED, f"end of the trials: {folder.log_tail(5)}", seconds)
    return life.status(folder)


def test_a_round_is_tried_decided_and_left_as_runs(tiny_plan: Plans, measured_paths: Paths) -> None:
    order = order_of(tiny_plan(epochs=4), PromptStrategy(), FewShotStrategy(examples=2), LoraStrategy(r=4))
    folder = life.create(order, measured_paths)
    assert life.status(folder).state == "queued" and folder.order() == order
    life.start(folder)
    found = ended(folder)
    assert found.state == "done", (found, folder.log_tail(60))
    tried = folder.tried()
    assert {one.tried.key for one in tried} == {"prompt", "few_shot", "lora"}
    assert len({one.tried for one in tried}) == len(tried), "nothing twice"
    splits, sealed = folder.splits(), {row.row for row in (*folder.splits().test, *folder.splits().arena)}
    for one in tried:
        assert not one.failed and one.scores
        run = jobs.find_run(one.run, measured_paths)
        learned = {row.row for row in run.split("train")}
        assert len(learned) == one.rows and not learned & one.scores.keys() and not sealed & (learned | set(one.scores))
        assert jobs.status(run).state == "done" and run.has_result and run.split("test") == splits.test
        trial = trial_of(run)
        assert trial is not None and (trial.trials, trial.tried) == (folder.id, one.tried)
        assert run.name.startswith("try: ")
    decision = folder.decision()
    assert decision is not None and decision.best == "lora", "the answer stands in the text, and nobody else reads it"
    assert 0 < found.spent_seconds < 600 and found.seconds_left is None and found.doing is None
    assert life.latest(measured_paths) is not None and life.find(folder.id, measured_paths).path == folder.path
    # One of them is examined like any other run.
    [best] = [one.run for one in tried if one.tried.key == "lora"][-1:]
    run = jobs.find_run(best, measured_paths)
    jobs.evaluate(run, measured_paths)
    wait_for(lambda: jobs.status(run).state in ENDED, "examination")
    report = run.report()
    assert report is not None and report.tuned.n == len(splits.test), (jobs.status(run), run.log_tail())


def learns(folder: TrialsFolder) -> bool:
    """Whether a try is in the midst of its training, or all is over. A tiny model's single step is seen by nobody."""
    now = life.status(folder)
    step = re.search(r"Step (\d+) of", now.message)
    return now.state in ENDED or (step is not None and int(step[1]) >= 5)


def test_killed_it_goes_on_where_it_was(tiny_plan: Plans, measured_paths: Paths) -> None:
    order = order_of(tiny_plan(epochs=100), PromptStrategy(), LoraStrategy(r=4), PromptTuningStrategy())
    folder = life.create(order, measured_paths)
    life.start(folder)
    wait_for(lambda: learns(folder), "step")
    assert life.status(folder).state == "running", (life.status(folder), folder.log_tail())
    doing, before = life.status(folder).doing, folder.tried()
    assert doing is not None and doing not in {one.tried for one in before} and before
    os.kill(json.loads(folder.worker_file.read_text())["pid"], signal.SIGKILL)
    wait_for(lambda: life.status(folder).state == "failed", "word of the killed", 20)
    killed = life.status(folder)
    half = [run for run in jobs.list_runs(measured_paths) if run.id not in {one.run for one in before}]
    assert len(half) == 1
    life.resume(folder)
    wait_for(lambda: learns(folder), "step")
    assert life.status(folder).doing == doing and not half[0].path.exists(), "once more, from its beginning"
    life.stop(folder)
    found = ended(folder, 30)
    assert found.state == "cancelled" and found.message.startswith(f"Stopped after {len(before)} tr")
    assert folder.decision() is not None, "from what there is"
    assert {run.id for run in jobs.list_runs(measured_paths)} == {one.run for one in before}, "nothing half is left"
    assert found.spent_seconds > killed.spent_seconds > 0, "over all starts"
    assert folder.tried() == before
    life.delete(folder)
    assert life.latest(measured_paths) is None and jobs.list_runs(measured_paths), "the runs stay"


def test_stopped_while_it_waits_for_the_device_nothing_was_tried(tiny_plan: Plans, measured_paths: Paths) -> None:
    queue = measured_paths.home / "queue"
    queue.mkdir(parents=True)
    folder = life.create(order_of(tiny_plan(), PromptStrategy()), measured_paths)
    with FileLock(queue / "cpu.lock"):
        life.start(folder)
        wait_for(lambda: "the training that runs" in life.status(folder).message, "word that it waits", 60)
        assert life.status(folder).state == "queued" and life.status(folder).spent_seconds == 0
        life.stop(folder)
        found = ended(folder, 20)
    assert (found.state, found.message) == ("cancelled", "Stopped before anything was tried.")
    assert folder.decision() is None and not folder.tried() and not jobs.list_runs(measured_paths)


def test_where_every_option_fails_the_trials_do_with_the_reason(
    tiny_plan: Plans, measured_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.trials.worker.signal.signal", lambda *given: None)  # this process is no worker
    folder = life.create(order_of(tiny_plan(), LoraStrategy(r=512)), measured_paths)
    with pytest.raises(RunError, match=r"No option could be tried: strategy\.r: rank 512 is above"):
        _carried_out(Round(folder, measured_paths))
    assert [one.tried.key for one in folder.tried()] == ["lora"] and folder.decision() is None
    nothing = life.create(order_of(tiny_plan(), PromptStrategy(), minutes=1e-4), measured_paths)
    with pytest.raises(RunError, match="the budget does not allow one try"):
        _carried_out(Round(nothing, measured_paths))
    monkeypatch.setattr(Round, "overtime", property(lambda self: True))
    soon_over = life.create(order_of(tiny_plan(), PromptStrategy(), LoraStrategy()), measured_paths)
    with pytest.raises(RunError, match="No option could be tried: It takes longer than the budget allows"):
        _carried_out(Round(soon_over, measured_paths))
    runs = jobs.list_runs(measured_paths)
    assert all(run.written_status().state == "failed" and not (run.path / "worker.json").exists() for run in runs)


# What cannot begin


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused(minutes: float) -> None:
    with pytest.raises(PlanError, match="no time to try anything"):
        life.budget(minutes)
    assert life.budget(2.5) == 2.5


def test_too_few_rows_are_refused_with_their_number(tiny_plan: Plans, paths: Paths, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("text,label\none ticket,billing\n")
    plan = tiny_plan()
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"path": few})})
    with pytest.raises(DataError, match="leaves 1 answered row") as told:
        life.create(order_of(plan, PromptStrategy()), paths)
    assert "4 beside the test rows" in told.value.hint
    assert life.latest(paths) is None and not list(paths.home.glob("trials/*"))


def test_options_that_cannot_be_compared_are_refused(tiny_plan: Plans, paths: Paths) -> None:
    order = order_of(tiny_plan(), PromptStrategy(), LoraStrategy())
    first, second = order.candidates

    def refused(*candidates: Candidate) -> str:
        with pytest.raises(PlanError) as told:
            life.create(order.model_copy(update={"candidates": candidates}), paths)
        return str(told.value)

    assert "no option" in refused()
    assert "Two options are called 'prompt'" in refused(first, first)
    other = second.plan.data.model_copy(update={"seed": 9})
    moved = second.model_copy(update={"plan": second.plan.model_copy(update={"data": other})})
    assert "its division of the rows" in refused(first, moved)
    how = second.plan.evaluation.model_copy(update={"metric": "chrF"})
    scored = second.model_copy(update={"plan": second.plan.model_copy(update={"evaluation": how})})
    assert "its metric" in refused(first, scored)


def test_a_base_that_is_not_there_and_a_device_that_is_none_are_refused(tiny_plan: Plans, paths: Paths) -> None:
    with pytest.raises(ModelError, match="no base model"):
        life.create(order_of(tiny_plan(base_model="/no/such/model"), PromptStrategy()), paths)
    if not detect().gpus:
        with pytest.raises(PlanError, match="no NVIDIA GPU"):
            life.create(order_of(tiny_plan(), PromptStrategy(), device="cuda"), paths)
    with pytest.raises(RunError, match="address of a Ray cluster"):
        life.create(order_of(tiny_plan(), PromptStrategy(), cluster=Cluster(address="ftp://x")), paths)


def test_a_worker_that_is_gone_shows_as_failed_or_stopped(tiny_plan: Plans, paths: Paths) -> None:
    folder = life.create(order_of(tiny_plan(), PromptStrategy()), paths)
    assert life.status(folder).state == "queued", "it has not been started"
    folder.worker_file.write_text(json.dumps({"pid": os.getpid(), "born": 1.0}))
    folder.write_status(TrialsStatus(state="running", doing=Try(key="prompt", portion=1.0), spent_seconds=7))
    found = life.status(folder)
    assert (found.state, found.doing, found.spent_seconds) == ("failed", None, 7) and "Go on" in found.hint
    folder.stop_file.touch()
    assert life.status(folder).state == "cancelled"
    with pytest.raises(RunError, match="ended already"):
        life.stop(folder)
    folder.write_status(TrialsStatus(state="done"))
    with pytest.raises(RunError, match="done"):
        life.resume(folder)
    for name in ("", "..", "nothing", folder.id + "/data"):
        with pytest.raises(RunError, match="no trials"):
            life.find(name, paths)
    life.delete(folder)
    assert not folder.path.exists()
