"""Several processes train as one: for real on two processes of the CPU, with the tiny model."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from prompts.errors import PlanError
from tests.trainers.runs import wait_for, wait_until_ended
from trainers import launching
from trainers.hardware import Gpu, Hardware
from trainers.jobs import cancel, create_run, resume, start, status, stop
from trainers.launching import Launch, accelerate_command, command, keep, kept, shared
from trainers.paths import PYTHON, Paths
from trainers.plan import Optimization, TrainingPlan
from trainers.queueing import devices
from trainers.status import RunFolder
from trainers.strategies import LoraStrategy

Plans = Callable[..., TrainingPlan]
TWO = Launch(processes=2)


def without_dropout(tiny_plan: Plans, **training: Any) -> TrainingPlan:
    """Each process draws dropout's dice for itself, so that only a training without it is the same."""
    return tiny_plan(**training).model_copy(update={"strategy": LoraStrategy(dropout=0)})


def launched(plan: TrainingPlan, paths: Paths, launch: Launch = TWO) -> RunFolder:
    run = create_run(plan, paths)
    keep(run, launch)
    start(run)
    return run


def finished(run: RunFolder) -> RunFolder:
    assert wait_until_ended(run).state == "done", (status(run), run.log_tail(60))
    return run


def losses(run: RunFolder) -> list[float]:
    return [line["loss"] for line in run.metrics() if "loss" in line]


def test_two_processes_give_what_one_gives(tiny_plan: Plans, measured_paths: Paths) -> None:
    """In float32, since sums in another order differ by more in fewer bits."""
    exact(measured_paths)
    plan = without_dropout(tiny_plan)
    alone = create_run(plan, measured_paths)
    start(alone)
    finished(alone)
    together = finished(launched(plan, measured_paths))
    assert [line["step"] for line in together.metrics() if "loss" in line] == list(range(1, 37)), "one line a step"
    assert len([line for line in together.metrics() if "eval_loss" in line]) == 3
    assert losses(together) == [pytest.approx(loss, rel=1e-3, abs=1e-4) for loss in losses(alone)]
    for key, weight in load_file(alone.adapter / "adapter_model.safetensors").items():
        found = load_file(together.adapter / "adapter_model.safetensors")[key]
        torch.testing.assert_close(found, weight, atol=1e-3, rtol=1e-2)
    one, two = alone.report(), together.report()
    assert one is not None and two is not None
    assert (two.tuned, two.train_rows, two.train_tokens) == (one.tuned, one.train_rows, one.train_tokens)
    assert (status(together).step, status(together).total_steps) == (36, 36)
    assert not together.checkpoints.exists()
    said = together.log_tail(10_000)
    assert said.count("'train_runtime'") == 1, "one process speaks"


def exact(paths: Paths) -> None:
    kept_file = paths.cache / "compute.json"
    record = json.loads(kept_file.read_text())
    record["compute"]["dtype"] = "float32"
    kept_file.write_text(json.dumps(record))


def test_stop_ends_all_of_them_after_the_same_step(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = launched(tiny_plan(epochs=100, patience=100), measured_paths)
    wait_for(lambda: status(run).step >= 5 or status(run).state == "failed", "step")
    stop(run)
    ended = finished(run)
    assert "Stopped as you asked" in status(ended).message
    assert status(run).step < 1200 and run.report() is not None


def test_cancel_ends_all_of_them(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = launched(tiny_plan(epochs=100, patience=100), measured_paths)
    wait_for(lambda: status(run).step >= 1 or status(run).state == "failed", "step")
    workers = psutil.Process(json.loads((run.path / "worker.json").read_text())["pid"]).children(recursive=True)
    assert len(workers) >= 3, "accelerate and two workers"
    cancel(run)
    assert wait_until_ended(run, 40).state == "cancelled", run.log_tail()
    wait_for(lambda: not any(alive(worker) for worker in workers), "end of the workers", 10)
    assert run.artefact is None


def test_where_one_of_them_is_killed_the_run_fails_and_can_go_on(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = launched(tiny_plan(epochs=4, checkpoint_minutes=0.0, patience=100), measured_paths)
    wait_for(lambda: status(run).step >= 5 or status(run).state == "failed", "step")
    launcher = psutil.Process(json.loads((run.path / "worker.json").read_text())["pid"])
    [other] = [p for p in launcher.children(recursive=True) if p.environ().get("RANK") == "1"]
    os.kill(other.pid, signal.SIGKILL)
    ended = wait_until_ended(run, 90)
    assert ended.state == "failed" and "One of the training processes" in ended.message, run.log_tail()
    resume(run)
    finished(run)
    assert [line["step"] for line in run.metrics() if "loss" in line] == list(range(1, 49))


def test_a_killed_launcher_takes_its_workers_along(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = launched(tiny_plan(epochs=100, patience=100), measured_paths)
    wait_for(lambda: status(run).step >= 1 or status(run).state == "failed", "step")
    launcher = psutil.Process(json.loads((run.path / "worker.json").read_text())["pid"])
    workers = launcher.children(recursive=True)
    launcher.kill()
    wait_for(lambda: not any(alive(worker) for worker in workers), "end of the workers", 40)
    assert status(run).state == "failed", "though no worker said so"


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_an_explosion_is_answered_by_launching_once_more(tiny_plan: Plans, measured_paths: Paths) -> None:
    plan = tiny_plan(epochs=10, learning_rate=0.9, warmup=0.0)
    run = launched(plan.model_copy(update={"strategy": LoraStrategy(alpha=1e5)}), measured_paths)
    ended = wait_until_ended(run)
    assert ended.state == "failed" and "Training does not hold" in ended.message, (ended, run.log_tail(60))
    kept_notes = json.loads((run.path / "adjusted.json").read_text())["notes"]
    assert len(kept_notes) == 1 and "Once more from the beginning" in kept_notes[0]


def test_a_plan_that_cannot_be_divided_fails_in_one_sentence(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = launched(tiny_plan(batch_size=3), measured_paths)
    ended = wait_until_ended(run)
    assert ended.state == "failed"
    assert "a step's 3 rows cannot be divided among 2 processes" in ended.message, run.log_tail(60)


def test_two_machines_train_as_one(tiny_plan: Plans, measured_paths: Paths, tmp_path: Path) -> None:
    """Both are this one, but each has a home of its own, and they find each other by address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    launch = Launch(processes=2, machines=2, main_address="127.0.0.1", main_port=port)
    run = launched(tiny_plan(), measured_paths, launch)
    env = {**os.environ, "TUNEWRIGHT_HOME": str(tmp_path / "other")}
    other = subprocess.Popen(
        [*PYTHON, "trainers.launching", str(run.path), "1"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        finished(run)
        assert other.wait(60) == 0, other.communicate()[0][-2000:]
    finally:
        other.kill()
    assert [line["step"] for line in run.metrics() if "loss" in line] == list(range(1, 37))
    assert run.report() is not None


def test_as_many_gpus_as_processes_are_held_at_once(
    tiny_plan: Plans, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Gpu(name="card", memory_gb=8)
    machine = Hardware(cpu="x", cores=1, memory_gb=1, gpus=(card,) * 3)
    monkeypatch.setattr("trainers.queueing.detect", lambda: machine)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that what `devices` sets is undone
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    run = create_run(tiny_plan(), paths)
    with devices(run, paths, 2) as held:
        assert held == ["0", "1"]
        assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "0,1"
        with devices(run, paths, 1) as another:
            assert another == ["2"]
        os.environ.pop("CUDA_VISIBLE_DEVICES")
    with pytest.raises(PlanError, match="4 processes need as many GPUs, and there are 3 here"), devices(run, paths, 4):
        pass


# Settings and commands


def test_one_process_is_started_as_ever(tiny_plan: Plans, paths: Paths) -> None:
    run = create_run(tiny_plan(), paths)
    assert kept(run) == Launch()
    assert command(run)[-2:] == ["trainers.worker", str(run.path)]
    keep(run, TWO)
    assert kept(run) == TWO
    assert command(run)[-2:] == ["trainers.launching", str(run.path)]


def test_the_command_for_one_machine() -> None:
    told = accelerate_command(Launch(processes=4), RunFolder(Path("/run")))
    assert told[:4] == [sys.executable, "-P", "-m", "accelerate.commands.launch"]
    assert told[-3:] == ["-m", "trainers.worker", "/run"]
    assert "--multi_gpu" in told
    assert options(told)["num_processes"] == "4"
    assert options(told)["main_process_port"] == "0"


def test_the_command_for_one_of_several_machines() -> None:
    launch = Launch(processes=16, machines=2, machine_rank=1, main_address="10.0.0.1", main_port=29500)
    assert launch.here == 8
    found = options(accelerate_command(launch, RunFolder(Path("/run"))))
    assert found["num_processes"] == "16" and found["num_machines"] == "2" and found["machine_rank"] == "1"
    assert found["main_process_ip"] == "10.0.0.1" and found["main_process_port"] == "29500"


def test_a_configuration_of_accelerate_is_taken(tmp_path: Path) -> None:
    told = accelerate_command(Launch(processes=2, config_file=tmp_path / "c.yaml"), RunFolder(Path("/run")))
    assert options(told)["config_file"] == str(tmp_path / "c.yaml")
    assert "--multi_gpu" not in told and "mixed_precision" not in options(told)


def test_accelerate_knows_every_option(tmp_path: Path) -> None:
    """By its own parser, in a process of its own: it loads torch."""
    launch = Launch(processes=4, machines=2, main_address="10.0.0.1", main_port=29500)
    code = (
        "import sys; from accelerate.commands.launch import launch_command_parser as parser\n"
        "told = parser().parse_args(sys.argv[1:]); print(told.num_processes, told.machine_rank, told.training_script)"
    )
    told = accelerate_command(launch, RunFolder(tmp_path))[4:]
    ran = subprocess.run([sys.executable, "-c", code, *told], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["4", "0", "trainers.worker"]


def options(told: list[str]) -> dict[str, str]:
    return {name.removeprefix("--"): value for name, value in itertools.pairwise(told) if name[:2] == "--"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"processes": 0}, "greater than or equal to 1"),
        ({"processes": 3, "machines": 2, "main_address": "a", "main_port": 1}, "divided evenly"),
        ({"processes": 2, "machines": 2}, "main_address and main_port"),
        ({"processes": 2, "machine_rank": 1}, "count from 0"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Launch(**values)


@pytest.mark.parametrize(
    ("batch", "accumulated", "processes", "expected"),
    [(8, 1, 1, (8, 1)), (8, 4, 2, (8, 2)), (8, 1, 4, (2, 1)), (6, 2, 4, (3, 1)), (2, 3, 3, (2, 1)), (4, 3, 6, (2, 1))],
)
def test_a_step_has_as_many_rows_as_in_one_process(
    batch: int, accumulated: int, processes: int, expected: tuple[int, int]
) -> None:
    how = Optimization(batch_size=batch, gradient_accumulation=accumulated)
    found = shared(how, processes)
    assert found == expected
    assert found[0] * found[1] * processes == how.effective_batch


def test_a_step_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(PlanError, match="8 rows cannot be divided among 3 processes"):
        shared(Optimization(batch_size=8), 3)


def test_outside_a_launch_there_is_one_process_that_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "TUNEWRIGHT_LAUNCHED"):
        monkeypatch.delenv(name, raising=False)
    assert launching.world_size() == 1 and launching.is_main() and not launching.launched()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launching.world_size() == 2 and not launching.is_main()


def test_what_a_person_types_is_read_or_refused() -> None:
    assert launching.read_launch(1).plain
    found = launching.read_launch(8, 2, "10.0.0.1:29500")
    assert (found.here, found.main_address, found.main_port) == (4, "10.0.0.1", 29500)
    for wrong in ((3, 2, "a:1"), (2, 2, ""), (2, 2, "host"), (2, 2, "host:port"), (0,)):
        with pytest.raises(PlanError, match="launch: "):
            launching.read_launch(*wrong)  # type: ignore[arg-type]
