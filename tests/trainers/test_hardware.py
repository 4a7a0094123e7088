"""What this machine is, and what it computes best with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainers.hardware import Compute, Gpu, Hardware, choose_compute, detect


def tampered(cache: Path, **changes: object) -> Path:
    kept = cache / "compute.json"
    record = json.loads(kept.read_text())
    for name, value in changes.items():
        (record if name == "key" else record["compute"])[name] = value
    kept.write_text(json.dumps(record))
    return kept


@pytest.fixture
def cache(measured: Path, tmp_path: Path) -> Path:
    (tmp_path / "compute.json").write_bytes((measured / "compute.json").read_bytes())
    return tmp_path


def test_the_measurement_is_made_once_and_kept(cache: Path) -> None:
    tampered(cache, reason="as it was written", gflops=1.5)
    kept = choose_compute(cache)
    assert (kept.reason, kept.gflops) == ("as it was written", 1.5)


@pytest.mark.parametrize("spoilt", [{"key": ["another CPU", 1, [], "0.0"]}, None])
def test_another_machine_and_a_damaged_record_are_measured_anew(cache: Path, spoilt: dict[str, object] | None) -> None:
    kept = tampered(cache, reason="as it was written", **(spoilt or {}))
    if spoilt is None:
        kept.write_text("null")
    fresh = choose_compute(cache)
    assert fresh.reason != "as it was written"
    assert fresh.gflops > 0
    record = json.loads(kept.read_text())
    assert Compute.model_validate(record["compute"]) == fresh
    assert record["key"][0] == detect().cpu


def test_a_measurement_gives_a_device_a_dtype_and_the_reason(compute: Compute) -> None:
    assert compute.dtype in ("float32", "bfloat16", "float16")
    assert compute.reason.startswith(compute.dtype)
    assert compute.gflops > 0.1
    assert (compute.device == "cuda") == bool(detect().gpus)


def test_this_machine_is_seen() -> None:
    machine = detect()
    assert machine.cores >= 1
    assert 0.5 < machine.memory_gb < 10_000
    assert f"{machine.cores} core" in str(machine)


@pytest.mark.parametrize(
    ("machine", "shown"),
    [
        (Hardware(cpu="x", cores=1, memory_gb=23.6), "CPU, 1 core, 24 GB"),
        (
            Hardware(cpu="x", cores=8, memory_gb=64, gpus=(Gpu(name="L4", memory_gb=22.5),) * 2),
            "2 x L4, 22 GB; CPU, 8 cores, 64 GB",
        ),
    ],
)
def test_a_machine_in_one_line(machine: Hardware, shown: str) -> None:
    assert str(machine) == shown


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("NVIDIA L4, 23034", ["NVIDIA L4"]),
        ("NVIDIA A100, 40960\nNVIDIA A100, 40960", ["NVIDIA A100", "NVIDIA A100"]),
        ("NVIDIA GB10, [N/A]", ["NVIDIA GB10"]),  # shares the machine's memory
        ("No devices were found", []),
    ],
)
def test_gpus_as_their_driver_tells_of_them(
    answer: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<END\n{answer}\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    gpus = detect.__wrapped__().gpus  # not the answer it keeps
    assert [gpu.name for gpu in gpus] == names
    assert all(gpu.memory_gb > 1 for gpu in gpus)
