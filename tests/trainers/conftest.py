"""What the training tests share: this machine's measured compute, a small data file, and one finished run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainers.runs import HOSTS, Started, file_hashes, wait_until_ended, write_tickets
from trainers.data import Mapping
from trainers.hardware import Compute, choose_compute
from trainers.jobs import list_runs
from trainers.models import resolve
from trainers.paths import Paths, default_paths
from trainers.plan import DataPlan, EvaluationPlan, Optimization, TrainingPlan


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which this machine is measured already."""
    folder = tmp_path_factory.mktemp("measured")
    choose_compute(folder)
    return folder


@pytest.fixture(scope="session")
def compute(measured: Path) -> Compute:
    return choose_compute(measured)


@pytest.fixture
def measured_paths(paths: Paths, measured: Path) -> Paths:
    """Empty folders of one's own, but the machine need not be measured again."""
    shutil.copytree(measured, paths.cache)
    return paths


@pytest.fixture(scope="session")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file that even a tiny model can learn: the answer stands in the text."""
    return write_tickets(tmp_path_factory.mktemp("data") / "tickets.csv")


@pytest.fixture(scope="session")
def tiny_plan(tiny_model: Path, tickets: Path) -> Callable[..., TrainingPlan]:
    """Makes plans for the tiny model; `training` replaces what it names."""

    def make(base_model: str = str(tiny_model), **training: object) -> TrainingPlan:
        usual = {"epochs": 3, "learning_rate": 5e-3, "batch_size": 4, "max_tokens": 128}
        return TrainingPlan(
            base_model=base_model,
            data=DataPlan(path=tickets, columns=Mapping(input="text", output="label"), seed=3),
            training=Optimization.model_validate({**usual, **training}),
            evaluation=EvaluationPlan(probes=(), few_shot=0),  # these have tests of their own
        )

    return make


@pytest.fixture(scope="session")
def trained(
    tiny_model: Path,
    tiny_plan: Callable[..., TrainingPlan],
    measured: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Started:
    """One whole run of the tiny model, started by a process that was gone before the training began."""
    root = tmp_path_factory.mktemp("trained")
    paths = Paths(home=root / "home", cache=root / "cache")
    shutil.copytree(measured, paths.cache)
    plan = root / "plan.yaml"
    plan.write_text(tiny_plan().to_yaml(), "utf-8")
    before = file_hashes(tiny_model)
    env = {**os.environ, "TUNEWRIGHT_HOME": str(paths.home), "TUNEWRIGHT_CACHE": str(paths.cache)}
    subprocess.run([sys.executable, "-c", HOSTS, str(plan)], env=env, check=True, timeout=120)
    [run] = list_runs(paths)
    wait_until_ended(run)
    return Started(run=run, paths=paths, base=tiny_model, base_before=before)


@pytest.fixture(scope="session")
def embedded_folder() -> Path:
    """The embedded model, from the person's own cache: converting it takes half a minute the first time."""
    return resolve("embedded", default_paths()).folder
