"""A training that goes on after what happens to trainings, with real trainings of a tiny model."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from prompts.errors import ModelError, RunError
from tests.trainers.runs import wait_for, wait_until_ended
from tests.trainers.test_strategies import LORA, PROMPT, SOFT, snapshot
from trainers.callbacks import Checkpoints, Diverged, Divergence, is_whole, last_checkpoint
from trainers.hardware import Compute
from trainers.jobs import cancel, create_run, resume, start, status, stop
from trainers.modeling import load_base, load_tokenizer
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.recovery import train
from trainers.status import RunFolder
from trainers.strategies import FullStrategy, LoraStrategy, Strategy
from trainers.strategies.full import Unfreezing

Plans = Callable[..., TrainingPlan]
COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)
STEPS = 24  # two epochs of 48 rows in batches of 4


class Cut(TrainerCallback):
    """The process is gone at the end of this step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


class SaveAt(TrainerCallback):
    def __init__(self, *steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = state.global_step in self.steps


class Raise(TrainerCallback):
    """Fails while a condition of the trainer's arguments holds."""

    def __init__(self, when: Callable[[Any, Any], bool], error: BaseException) -> None:
        self.when, self.error = when, error

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.when(args, state):
            raise self.error


def trained(plan: TrainingPlan, run: RunFolder, *more: Any) -> Any:
    folder = Path(plan.base_model)

    def load() -> tuple[Any, Any]:
        return load_base(folder, COMPUTE, training=True), load_tokenizer(folder)

    return train(plan, run, load, COMPUTE, started=0.0, more=list(more))


def curve(run: RunFolder, key: str = "loss") -> list[tuple[int, float]]:
    return [(line["step"], line[key]) for line in run.metrics() if key in line]


KINDS: list[Strategy] = [
    LORA[0], LORA[6], SOFT[2], SOFT[3], FullStrategy(unfreezing=Unfreezing(), layer_decay=0.7)
]  # fmt: skip


@pytest.mark.parametrize("strategy", KINDS, ids=lambda s: s.type)
def test_a_resumed_training_gives_the_same_curve_and_the_same_weights(
    tiny_plan: Plans, paths: Paths, strategy: Strategy
) -> None:
    plan = tiny_plan(epochs=2, learning_rate=2e-3).model_copy(update={"strategy": strategy, "prompt": PROMPT})
    whole, cut = create_run(plan, paths), create_run(plan, paths)
    expected = snapshot(trained(plan, whole).model)
    with pytest.raises(KeyboardInterrupt):
        trained(plan, cut, SaveAt(15), Cut(18))
    assert curve(cut)[-1][0] == 18, "three steps beyond the checkpoint are logged, and will be once more"
    after = snapshot(trained(plan, cut).model)
    assert [step for step, _ in curve(cut)] == list(range(1, STEPS + 1))
    assert curve(cut) == [(step, pytest.approx(loss, rel=1e-4)) for step, loss in curve(whole)]
    assert curve(cut, "eval_loss") == [(s, pytest.approx(x, rel=1e-4)) for s, x in curve(whole, "eval_loss")]
    for name, weight in expected.items():
        torch.testing.assert_close(after[name], weight, atol=1e-5, rtol=1e-4)


def test_a_killed_worker_goes_on_from_its_checkpoint(tiny_plan: Plans, measured_paths: Paths) -> None:
    plan = tiny_plan(epochs=25, checkpoint_minutes=0.0)
    run = create_run(plan, measured_paths)
    start(run)
    wait_for(lambda: status(run).step >= 20, "step")
    os.kill(json.loads((run.path / "worker.json").read_text())["pid"], signal.SIGKILL)
    wait_until_ended(run)
    reached = status(run).step
    resume(run)
    ended = wait_until_ended(run)
    assert ended.state == "done", run.log_tail()
    assert reached < ended.step <= 300
    steps = [step for step, _ in curve(run)]
    assert steps == list(range(1, len(steps) + 1)), "no step is missing, and none is there twice"
    report = run.report()
    assert report is not None and report.train_tokens == run.tokens_trained()
    with pytest.raises(RunError, match="is done"):
        resume(run)


def test_stop_keeps_what_is_learned(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = create_run(tiny_plan(epochs=100, patience=None), measured_paths)
    start(run)
    wait_for(lambda: status(run).step >= 30, "step")
    stop(run)
    ended = wait_until_ended(run)
    assert ended.state == "done", run.log_tail()
    assert "Stopped as you asked" in ended.message
    assert run.artefact == run.adapter and run.report() is not None
    assert ended.step < 1200
    with pytest.raises(RunError, match="not training any more"):
        stop(run)


def test_a_cancelled_run_can_be_resumed(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = create_run(tiny_plan(epochs=4, checkpoint_minutes=0.0), measured_paths)
    start(run)
    wait_for(lambda: status(run).step >= 5, "step")
    cancel(run)
    wait_until_ended(run)
    resume(run)
    assert wait_until_ended(run).state == "done", run.log_tail()


# Checkpoints


def test_a_half_written_checkpoint_is_passed_over(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=2)
    run = create_run(plan, paths)
    with pytest.raises(KeyboardInterrupt):
        trained(plan, run, SaveAt(6), Cut(8))
    good = last_checkpoint(run.checkpoints)
    assert good is not None and good.name == "checkpoint-6"
    half = run.checkpoints / "checkpoint-7"
    shutil.copytree(good, half)
    assert is_whole(half)
    weights = half / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    assert last_checkpoint(run.checkpoints) == good
    assert not half.exists()
    (good / "complete.json").unlink()
    assert last_checkpoint(run.checkpoints) is None


def test_checkpoints_are_kept_by_the_clock(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=1)
    run = create_run(plan, paths)
    with pytest.raises(KeyboardInterrupt):
        trained(plan, run, Cut(5))
    assert last_checkpoint(run.checkpoints) is None, "three minutes have not passed"
    hurried = plan.model_copy(update={"training": plan.training.model_copy(update={"checkpoint_minutes": 0.0})})
    with pytest.raises(KeyboardInterrupt):
        trained(hurried, run := create_run(hurried, paths), Cut(5))
    found = last_checkpoint(run.checkpoints)
    assert found is not None and found.name == "checkpoint-5"
    assert len(list(run.checkpoints.glob("checkpoint-*"))) == 1, "older ones are removed"


def test_a_full_disk_stops_before_a_checkpoint_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))

    class Args:
        output_dir = str(tmp_path)

    class State:
        global_step, max_steps = 1, 10

    class Control:
        should_save = False

    with pytest.raises(RunError, match=r"0\.0 GB left, and a checkpoint needs 0\.1 GB"):
        Checkpoints(0.0).on_step_end(Args(), State(), Control())
    assert not Control.should_save


# Memory


def test_where_memory_runs_out_batches_are_halved_and_the_step_stays_as_large(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=2, batch_size=8).model_copy(update={"strategy": LoraStrategy(dropout=0)})
    run = create_run(plan, paths)
    no_memory = Raise(
        lambda args, state: args.per_device_train_batch_size > 2 and state.global_step >= 4,
        torch.OutOfMemoryError("CUDA out of memory."),
    )
    trainer = trained(plan, run, SaveAt(3), no_memory)
    assert (trainer.args.per_device_train_batch_size, trainer.args.gradient_accumulation_steps) == (2, 4)
    assert [step for step, _ in curve(run)] == list(range(1, 13))
    kept = json.loads((run.path / "adjusted.json").read_text())
    assert kept["training"]["batch_size"] == 2
    assert len(kept["notes"]) == 2
    assert "batches of 4 rows now, 2 of them a step as before" in kept["notes"][0]
    assert run.written_status().notes == tuple(kept["notes"])
    # The same rows make up each step, in smaller pieces.
    plain = create_run(plan, paths)
    trained(plan, plain)
    assert curve(run) == [(step, pytest.approx(loss, rel=1e-3)) for step, loss in curve(plain)]


def test_then_activations_are_computed_twice_and_then_it_gives_up(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=1, batch_size=2)
    error = torch.OutOfMemoryError("CUDA out of memory.")
    run = create_run(plan, paths)
    trainer = trained(plan, run, Raise(lambda args, state: not args.gradient_checkpointing, error))
    assert trainer.args.gradient_checkpointing and trainer.args.per_device_train_batch_size == 1
    assert "activations are computed twice" in run.written_status().notes[-1]
    with pytest.raises(RunError, match="with the smallest batches too"):
        trained(plan, create_run(plan, paths), Raise(lambda args, state: True, error))


def test_another_error_is_no_lack_of_memory(tiny_plan: Plans, paths: Paths) -> None:
    with pytest.raises(ZeroDivisionError):
        trained(tiny_plan(), create_run(tiny_plan(), paths), Raise(lambda args, state: True, ZeroDivisionError()))


# An exploding loss


def test_an_exploding_training_begins_once_more_at_a_lower_rate(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=2, learning_rate=1e-2)
    run = create_run(plan, paths)
    boom = [Diverged(17, "the loss rose from 1.00 to 9.00")]

    class Once(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 17 and boom:
                raise boom.pop()

    trainer = trained(plan, run, SaveAt(6, 14), Once())
    rates = dict(curve(run, "learning_rate"))
    plain = create_run(plan, paths)
    trained(plan, plain)
    before = dict(curve(plain, "learning_rate"))
    # The checkpoint of step 14 is too near; it goes on from what was kept before that, the first epoch's end.
    assert [rates[s] == pytest.approx(before[s]) for s in (2, 6, 10)] == [True] * 3 or "beginning" in _note(run)
    assert rates[20] == pytest.approx(0.3 * before[20])
    assert "Once more" in _note(run) and "0.003" in _note(run)
    assert trainer.state.global_step == STEPS


def _note(run: RunFolder) -> str:
    return run.written_status().notes[-1]


def test_a_training_that_does_not_hold_at_all_is_given_up(tiny_plan: Plans, paths: Paths) -> None:
    plan = tiny_plan(epochs=2)
    error = Diverged(3, "the loss is no number any more")
    with pytest.raises(ModelError, match="at a lower rate too") as caught:
        trained(plan, create_run(plan, paths), Raise(lambda args, state: state.global_step == 3, error))
    assert "learning_rate" in caught.value.hint


def test_a_rate_that_is_far_too_high_is_noticed(tiny_plan: Plans, paths: Paths) -> None:
    """For real: nothing is raised here but by the loss itself."""
    plan = tiny_plan(epochs=10, learning_rate=0.9, warmup=0.0)
    plan = plan.model_copy(update={"strategy": LoraStrategy(alpha=1e5)})
    with pytest.raises(ModelError, match="Training does not hold"):
        trained(plan, create_run(plan, paths))


@pytest.mark.parametrize(
    ("losses", "seen"),
    [
        ([1.0, float("nan")], "no number"),
        ([1.0, float("inf")], "no number"),
        ([1.0] * 10 + [9.0] * 5, "rose from 1.00"),
        ([1.0] * 10 + [9.0, 1.0, 1.0, 1.0, 1.0] * 4, ""),
        ([5.0, 4.0, 3.0, 2.0, 1.0] * 4, ""),
        ([0.01] * 5 + [0.9] * 10, ""),
    ],
)
def test_what_counts_as_an_explosion(losses: list[float], seen: str) -> None:
    class State:
        global_step = 1

    watching = Divergence()

    def all_of_them() -> None:
        for loss in losses:
            watching.on_log(None, State(), None, {"loss": loss})

    if not seen:
        all_of_them()
        return
    with pytest.raises(Diverged, match=seen):
        all_of_them()
