"""The whole evaluation against planted faults, in a tiny model that was taught something it can lose.

How often a healthy run is found fault with is measured over ten seeds by benchmarks/gates.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted import FAULTS, Taught, carried_out, levels, plan_of, teach, told
from trainers.evaluation.remedies import apply
from trainers.paths import Paths
from trainers.status import RunFolder


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    return teach(tmp_path_factory.mktemp("taught"))


def run_of(kind: str, taught: Taught, folder: Path, measured: Path) -> RunFolder:
    return carried_out(plan_of(kind, taught, folder), Paths(home=folder / "home", cache=measured))


def test_a_healthy_run_passes_all_gates(taught: Taught, tmp_path: Path, measured: Path) -> None:
    run = run_of("healthy", taught, tmp_path, measured)
    report = run.report()
    assert report and report.verdict
    found = levels(run)
    assert set(found.values()) <= {"passed", "unknown"}, told(run)
    assert report.verdict.headline == "Yes, it really got better."
    assert {"general", "perplexity", "stereotypes", "curves"} <= {part.probe for part in report.parts}
    assert found["general: another task: colours"] == found["general: another task: opposites"] == "passed"


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_is_caught_and_has_a_remedy(kind: str, taught: Taught, tmp_path: Path, measured: Path) -> None:
    run = run_of(kind, taught, tmp_path, measured)
    report = run.report()
    assert report and report.verdict and report.verdict.level != "passed"
    faults = [
        gate
        for part in report.parts
        if part.probe in FAULTS[kind]
        for gate in part.gates
        if gate.level in ("warning", "failed")
    ]
    assert faults, told(run)
    remedies = [remedy for gate in faults for remedy in gate.remedies]
    assert remedies, told(run)
    for remedy in remedies:
        assert apply(remedy, run.plan()) != run.plan() or not remedy.changes, "a plan that differs, or plain advice"
