"""Measures which dtype this machine multiplies matrices fastest in; prints a `Compute` as JSON.

Run as `python -m trainers.measure`, in a process of its own because it imports torch. Owns the measurement only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from trainers.hardware import Compute, Dtype

# A bfloat16 product on a CPU without AMX or AVX512-BF16 was seen to take 300 times as long as float32, so the two
# are compared on a small matrix; the speed that estimates rest on comes from a larger one.
_COMPARED, _TIMED = 256, 1024
# What stands between the products (norms, masks, sums) waits for caches and memory: told by adding up two rows of
# numbers, as many as a layer's activations. On one thread, times their number: two that wait for each other were seen
# to reach 0.2 instead of 51 GB/s on a busy machine, and one always 28.
_ADDED = 2**18
# Tried so often, and the fastest counts: with six tries 317 of 1,370 GFLOP/s were seen on a machine that was busy.
_SECONDS = 0.5


def _fastest(work: Callable[[], object], device: str, seconds: float = _SECONDS) -> float:
    """The fastest of many tries, in seconds; the first ones warm up and are beaten by the later ones."""
    best, until, tries = float("inf"), time.perf_counter() + seconds, 0
    while tries < 3 or time.perf_counter() < until:
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best, tries = min(best, time.perf_counter() - start), tries + 1
    return best


def _seconds(dtype: torch.dtype, size: int, device: str) -> float:
    """A matrix product of this size."""
    a = torch.randn(size, size, device=device).to(dtype)
    return _fastest(lambda: a @ a, device)


def _gb_per_second(dtype: torch.dtype, device: str) -> float:
    """Bytes that a sum of two tensors reads and writes a second."""
    a, b = (torch.randn(_ADDED, device=device).to(dtype) for _ in range(2))
    threads = torch.get_num_threads() if device == "cpu" else 1
    torch.set_num_threads(1)
    taken = _fastest(lambda: a + b, device)
    torch.set_num_threads(threads)
    return threads * 3 * _ADDED * a.element_size() / taken / 1e9


def _gflops(dtype: torch.dtype, size: int, device: str) -> float:
    return 2 * size**3 / _seconds(dtype, size, device) / 1e9


def _on_cpu() -> Compute:
    full, half = (_seconds(d, _COMPARED, "cpu") for d in (torch.float32, torch.bfloat16))
    dtype: Dtype = "bfloat16" if half * 1.2 < full else "float32"
    ratio = half / full
    reason = (
        f"bfloat16: on this CPU a matrix product takes {ratio:.2f} times as long as in float32"
        if dtype == "bfloat16"
        else f"float32: on this CPU a bfloat16 matrix product takes {ratio:.3g} times as long"
    )
    kind = getattr(torch, dtype)
    gflops, speed = _gflops(kind, _TIMED, "cpu"), _gb_per_second(kind, "cpu")
    return Compute(device="cpu", dtype=dtype, reason=reason, gflops=gflops, gb_per_second=speed)


def _on_gpu() -> Compute:
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    dtype: Dtype = "bfloat16" if native else "float16"
    name = torch.cuda.get_device_name(0)
    reason = f"{dtype}: {name} {'computes' if native else 'does not compute'} bfloat16 in hardware"
    kind = getattr(torch, dtype)
    gflops, speed = _gflops(kind, 4096, "cuda"), _gb_per_second(kind, "cuda")
    return Compute(device="cuda", dtype=dtype, reason=reason, gflops=gflops, gb_per_second=speed)


if __name__ == "__main__":
    print((_on_gpu() if torch.cuda.is_available() else _on_cpu()).model_dump_json())
