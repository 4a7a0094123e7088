"""What was foretold is kept beside what was then measured, and corrects what is foretold next."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from tests.trainers.runs import Started
from tests.trainers.test_estimating import XEON, work
from trainers.estimating.history import (
    NO_HISTORY,
    History,
    Measured,
    Past,
    append,
    history_file,
    ratios,
    read_history,
    scaled,
)
from trainers.estimating.keeping import Watch, read_foretold
from trainers.estimating.plain import plain
from trainers.estimating.records import Machine, Memory, Seconds
from trainers.estimating.training import estimate
from trainers.hardware import Compute
from trainers.jobs import delete
from trainers.models import LocalModel
from trainers.paths import Paths
from trainers.status import RunFolder
from trainers.strategies import AnyStrategy, FullStrategy


def past(
    slower: float, larger: float = 1.0, strategy: AnyStrategy | None = None, machine: Machine = XEON, run: str = "r"
) -> Past:
    """A run that took so many times what the formulas say."""
    found = work(strategy)
    held, spent = plain(found, machine)
    took = Seconds(**{name: slower * value for name, value in spent.model_dump().items()})
    measured = Measured(
        memory_gb=larger * held.total,
        seconds=took.model_copy(update={"testing": took.testing + took.examining, "examining": 0.0}),
    )
    return Past(run=run, when=0.0, workload=found, machine=machine, told=estimate(found, machine), measured=measured)


def test_without_history_nothing_is_corrected() -> None:
    told = estimate(work(), XEON, NO_HISTORY)
    assert (told.corrected_by, told.spread) == (0, None)
    assert (told.memory, told.seconds) == plain(work(), XEON)


@pytest.mark.parametrize("runs", [1, 4, 20])
def test_the_more_runs_say_so_the_more_they_are_believed(runs: int) -> None:
    told = estimate(work(), XEON, History([past(2.0)] * runs))
    factor = told.seconds.training / plain(work(), XEON)[1].training
    assert told.corrected_by == runs
    assert 1.2 < factor < 2.0001 and factor > 2.0 - 1.2 / runs
    assert told.spread is not None and told.spread >= 1


def test_one_disturbed_run_among_many_changes_little() -> None:
    calm = [past(1.1) for _ in range(8)]
    told = estimate(work(), XEON, History([*calm, past(40.0)]))
    assert told.seconds.training / plain(work(), XEON)[1].training == pytest.approx(1.1, rel=0.05)


def test_the_nearest_kin_counts_most_and_other_machines_not_at_all() -> None:
    other = XEON.model_copy(update={"name": "another"})
    history = History([past(2.0)] * 5 + [past(0.5, strategy=FullStrategy())] * 5)
    plain_seconds = plain(work(), XEON)[1].training
    assert estimate(work(), XEON, history).seconds.training > 1.5 * plain_seconds
    full = plain(work(FullStrategy()), XEON)[1].training
    assert estimate(work(FullStrategy()), XEON, history).seconds.training < 0.8 * full
    assert estimate(work(), other, history).seconds.training == plain(work(), other)[1].training
    assert estimate(work(), other, history).corrected_by == 0


def test_memory_is_corrected_in_what_was_not_counted() -> None:
    before, after = (estimate(work(), XEON, History(runs)) for runs in ((), [past(1.0, larger=1.5)] * 20))
    assert after.memory.total == pytest.approx(1.5 * before.memory.total, rel=0.05)
    assert (after.memory.weights, after.memory.optimizer) == (before.memory.weights, before.memory.optimizer)
    assert scaled(Memory(weights=2.0), 1.5) == Memory(weights=2.0), "there is nothing that could be off"
    assert scaled(Memory(weights=2.0, runtime=1.0), 0.1).runtime == pytest.approx(0.1)


def test_a_run_that_ended_early_is_held_against_what_it_did() -> None:
    whole = past(1.0)
    half = whole.measured.model_copy(
        update={
            "share": 0.5,
            "seconds": whole.measured.seconds.model_copy(update={"training": whole.measured.seconds.training / 2}),
        }
    )
    told = estimate(work(), XEON, History([whole.model_copy(update={"measured": half})] * 9))
    assert told.seconds.training == pytest.approx(plain(work(), XEON)[1].training)


def test_lines_survive_and_damaged_ones_are_skipped(paths: Paths) -> None:
    assert read_history(paths) == NO_HISTORY
    append(past(1.5, run="one"), paths)
    with history_file(paths).open("ab") as file:
        file.write(b'{"run": "half a li')  # a process that was killed
    append(past(2.0, run="two"), paths)
    with history_file(paths).open("ab") as file:
        file.write(b"\xff\xfe no json\n{}\n[1]\n")
    append(past(2.5, run="three"), paths)
    found = read_history(paths)
    assert [one.run for one in found.runs] == ["one", "two", "three"]
    assert found.runs[0] == past(1.5, run="one")
    assert [one.run for one in found.without("two").runs] == ["one", "three"]


# A real run


def test_a_run_leaves_what_was_foretold_and_what_it_took(trained: Started, tmp_path: Path) -> None:
    foretold = read_foretold(trained.run)
    assert foretold is not None and foretold.workload.base.width == 128
    assert foretold.workload.rows == len(trained.run.split("train")) and foretold.told.tokens > 0
    [line] = read_history(trained.paths).runs
    assert line.run == trained.run.id and line.told == foretold.told
    status, report = trained.run.written_status(), trained.run.report()
    assert report is not None
    assert line.measured.memory_gb == pytest.approx(status.peak_memory_gb, rel=0.02) and line.measured.share == 1
    assert line.measured.seconds.testing == pytest.approx(report.evaluation_seconds)
    assert 0 < line.measured.seconds.training <= status.train_seconds
    assert line.measured.seconds.loading > 0 and line.measured.seconds.checking > 0
    found = ratios(line)
    assert set(found) == {"memory", *Measured.phases()}
    assert 0.5 < found["memory"] < 1.5, "a tiny model is Python and its libraries, whatever the load"


def test_deleting_a_run_keeps_its_line(trained: Started, tmp_path: Path) -> None:
    copy = Paths(home=tmp_path / "home", cache=trained.paths.cache)
    shutil.copytree(trained.paths.home, copy.home)
    delete(RunFolder(copy.runs / trained.run.id))
    assert not (copy.runs / trained.run.id).exists()
    [line] = read_history(copy).runs
    assert line.run == trained.run.id
    told = estimate(line.workload, line.machine, read_history(copy))
    assert told.corrected_by == 1 and math.isfinite(told.seconds.total)


def test_a_run_that_goes_on_tells_nothing_of_its_estimate(trained: Started, compute: Compute, tmp_path: Path) -> None:
    copy = Paths(home=tmp_path / "home", cache=trained.paths.cache)
    shutil.copytree(trained.paths.home, copy.home)
    run = RunFolder(copy.runs / trained.run.id)
    base = LocalModel(ref="x", kind="folder", name="tiny", folder=trained.base)
    watch = Watch(run, copy)
    watch.foretell(base, compute)
    watch.keep()
    assert len(read_history(copy).runs) == 1


def test_an_estimate_that_fails_costs_no_run(
    compute: Compute, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    watch = Watch(run, Paths(home=tmp_path / "home", cache=tmp_path / "cache"))
    base = LocalModel(ref="x", kind="folder", name="gone", folder=tmp_path / "gone")
    watch.foretell(base, compute)
    watch.keep()
    assert "There is no plan" in capsys.readouterr().err, "it is in the run's log"
    assert not history_file(watch.paths).exists()
