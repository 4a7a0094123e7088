"""Energy: from counters alone, added up over rounds and over a run that goes on; without a counter it says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from prompts.errors import RunError
from trainers.energy import Counter, RaplCounter, Rates, counters, measured, rates_from, read_energy


class Ticking:
    """A counter that moves by so many joules each time it is read."""

    name = "a counter"

    def __init__(self, step: float) -> None:
        self.now, self.step = 100.0, step

    def joules(self) -> float:
        self.now += self.step
        return self.now


class Breaking(Ticking):
    def joules(self) -> float:
        if self.now > 101:
            raise OSError("gone")
        return super().joules()


@pytest.fixture
def powercap(tmp_path: Path) -> Callable[..., Path]:
    def make(**domains: str) -> Path:
        for folder, name in domains.items():
            zone = tmp_path / "powercap" / folder.replace("_", ":").replace(":rapl", "-rapl")
            zone.mkdir(parents=True)
            (zone / "name").write_text(f"{name}\n")
            (zone / "energy_uj").write_text("1000000")
            (zone / "max_energy_range_uj").write_text("262143000000")
        return tmp_path / "powercap"

    return make


def test_what_counters_say_is_kept_in_kwh(tmp_path: Path) -> None:
    path = tmp_path / "energy.json"
    with measured(path, known=([Ticking(1.8e6), Ticking(1.8e6)], "")):
        pass
    energy = read_energy(path)
    assert energy is not None and energy.kwh == pytest.approx(1.0)
    assert "a counter" in energy.source and energy.seconds >= 0 and not energy.why


def test_a_run_that_goes_on_adds_up(tmp_path: Path) -> None:
    path = tmp_path / "energy.json"
    for _ in range(3):
        with measured(path, known=([Ticking(3.6e6)], "")):
            pass
    assert (energy := read_energy(path)) and energy.kwh == pytest.approx(3.0)


def test_a_part_that_nobody_counted_leaves_no_figure(tmp_path: Path) -> None:
    path = tmp_path / "energy.json"
    with measured(path, known=([], "There is no counter.")):
        pass
    with measured(path, known=([Ticking(3.6e6)], "")):
        pass
    energy = read_energy(path)
    assert energy is not None and energy.kwh is None
    assert "earlier part" in energy.why and "There is no counter." in energy.why


def test_an_error_inside_still_keeps_what_was_counted(tmp_path: Path) -> None:
    path = tmp_path / "energy.json"
    with pytest.raises(KeyboardInterrupt), measured(path, known=([Ticking(3.6e6)], "")):
        raise KeyboardInterrupt
    assert (energy := read_energy(path)) and energy.kwh == pytest.approx(1.0)


def test_a_counter_that_goes_away_ends_no_training(tmp_path: Path) -> None:
    path = tmp_path / "energy.json"
    counter: list[Counter] = [Breaking(2)]
    with measured(path, known=(counter, "")):
        pass
    assert (energy := read_energy(path)) and energy.kwh is None and "gone" in energy.why


def test_the_processor_counts_packages_and_memory_once(powercap: Callable[..., Path]) -> None:
    root = powercap(
        intel_rapl_0="package-0", intel_rapl_0_0="core", intel_rapl_0_1="dram", intel_rapl_1="psys"
    )  # psys and core hold what the packages count already
    mmio = root / "intel-rapl-mmio:0"
    mmio.mkdir()
    (mmio / "name").write_text("package-0")
    found, missing = counters(gpu=False, powercap=root)
    assert [c.folder.name for c in found if isinstance(c, RaplCounter)] == ["intel-rapl:0", "intel-rapl:0:1"]
    assert missing == ""


def test_a_counter_that_goes_round_is_added_up(powercap: Callable[..., Path]) -> None:
    zone = powercap(intel_rapl_0="package-0") / "intel-rapl:0"
    counter = RaplCounter(zone)
    before = counter.joules()
    (zone / "energy_uj").write_text("500000")
    assert counter.joules() - before == pytest.approx(262143.0 - 0.5)
    (zone / "energy_uj").write_text("700000")
    assert counter.joules() - before == pytest.approx(262143.0 - 0.3)


def test_without_a_counter_it_says_why(tmp_path: Path, powercap: Callable[..., Path]) -> None:
    assert counters(gpu=False, powercap=tmp_path / "none") == (
        [],
        "This machine shows no energy counter of its processor (RAPL).",
    )
    root = powercap(intel_rapl_0="package-0")
    (root / "intel-rapl:0" / "energy_uj").unlink()  # as root reads everything here, a missing file stands for a refused
    found, missing = counters(gpu=False, powercap=root)
    assert not found and "administrator" in missing


def test_the_gpus_that_may_be_used_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception):
        pass

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 5000,
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found, missing = counters(gpu=True, powercap=tmp_path, nvml=nvml)
    assert len(found) == 3 and found[0].joules() == 5.0 and "RAPL" in missing
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-ab")
    assert [c.handle for c in counters(gpu=True, powercap=tmp_path, nvml=nvml)[0]] == [2, "GPU-ab"]  # type: ignore[attr-defined]

    def broken() -> None:
        raise NVMLError("no driver")

    nvml.nvmlInit = broken
    found, missing = counters(gpu=True, powercap=tmp_path, nvml=nvml)
    assert not found and "no driver" in missing


def test_what_the_person_says_of_electricity_and_hours_is_read_or_refused() -> None:
    assert rates_from({}) == Rates(None, None)
    assert rates_from({"TUNEWRIGHT_GRID_G_PER_KWH": "380", "TUNEWRIGHT_COST_PER_HOUR": " 0.5"}) == Rates(380.0, 0.5)
    for said in ("much", "-1", "nan", "inf"):
        with pytest.raises(RunError, match="TUNEWRIGHT_COST_PER_HOUR cannot be"):
            rates_from({"TUNEWRIGHT_COST_PER_HOUR": said})
