"""One training at a time: others wait their turn, in the order in which they asked."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import pairwise

import psutil
import pytest

from tests.trainers.runs import wait_for, wait_until_ended
from trainers.hardware import Gpu, Hardware
from trainers.jobs import cancel, create_run, start, status
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.queueing import device
from trainers.status import RunFolder

Plans = Callable[..., TrainingPlan]


def test_runs_take_turns_in_the_order_in_which_they_were_started(tiny_plan: Plans, measured_paths: Paths) -> None:
    runs = [create_run(tiny_plan(epochs=2), measured_paths) for _ in range(3)]
    for run in runs:
        start(run)
        wait_for(lambda run=run: bool(_ticketed(run, measured_paths)) or status(run).state == "running", "ticket")
    wait_for(lambda: status(runs[2]).message == "Waiting: 1 before it.", "message")
    assert status(runs[0]).state == "running"
    assert (status(runs[1]).state, status(runs[1]).message) == ("queued", "Waiting for the training that runs.")
    ended = [wait_until_ended(run) for run in runs]
    assert [now.state for now in ended] == ["done"] * 3
    assert [now.started for now in ended] == sorted(now.started for now in ended)
    for before, after in pairwise(ended):
        assert after.updated > before.updated
    assert not list((measured_paths.home / "queue").glob("*.ticket"))


def _ticketed(run: RunFolder, paths: Paths) -> list[object]:
    return list((paths.home / "queue").glob(f"*{run.id}.ticket"))


def test_a_run_that_waits_can_be_cancelled_and_holds_up_nobody(tiny_plan: Plans, measured_paths: Paths) -> None:
    first, second = (create_run(tiny_plan(epochs=100, patience=None), measured_paths) for _ in range(2))
    start(first)
    wait_for(lambda: status(first).step >= 1, "step")
    start(second)
    wait_for(lambda: status(second).message.startswith("Waiting"), "message")
    cancel(second)
    assert wait_until_ended(second, 20).state == "cancelled"
    assert status(first).state == "running"
    cancel(first)
    wait_until_ended(first, 20)


def test_the_device_of_a_killed_run_is_free(tiny_plan: Plans, measured_paths: Paths) -> None:
    killed, next_one = (create_run(tiny_plan(epochs=n, patience=None), measured_paths) for n in (100, 1))
    start(killed)
    wait_for(lambda: status(killed).step >= 1, "step")
    start(next_one)
    wait_for(lambda: status(next_one).message.startswith("Waiting"), "message")
    pid = next(p.pid for p in psutil.process_iter(["cmdline"]) if str(killed.path) in (p.info["cmdline"] or []))
    os.kill(pid, signal.SIGKILL)
    assert wait_until_ended(next_one).state == "done", next_one.log_tail()


def test_the_ticket_of_a_dead_process_counts_no_more(tiny_plan: Plans, paths: Paths) -> None:
    run = create_run(tiny_plan(), paths)
    folder = paths.home / "queue"
    folder.mkdir(parents=True)
    (folder / f"{0:020}-gone.ticket").write_text("999999999 1.0")
    (folder / f"{1:020}-damaged.ticket").write_text("")
    with device(run, paths) as name:
        assert name == "cpu"
    assert not list(folder.glob("*.ticket"))


def test_with_several_gpus_as_many_train_at_once(
    tiny_plan: Plans, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Gpu(name="card", memory_gb=8)
    machine = Hardware(cpu="x", cores=1, memory_gb=1, gpus=(card, card))
    monkeypatch.setattr("trainers.queueing.detect", lambda: machine)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that what `device` sets is undone, for later tests' processes
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    run = create_run(tiny_plan(), paths)
    with device(run, paths) as first:
        assert first == os.environ.pop("CUDA_VISIBLE_DEVICES") == "0"  # as another process has not got it
        with device(run, paths) as second:
            assert second == os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with device(run, paths) as only:
        assert only == "1"
