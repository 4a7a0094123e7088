"""Measures which dtype this machine multiplies matrices fastest in; prints a `Compute` as JSON.

Run as `python -m trainers.measure`, in a process of its own because it imports torch. Owns the measurement only.
"""

from __future__ import annotations

import time

import torch

from trainers.hardware import Compute, Dtype

# A bfloat16 product on a CPU without AMX or AVX512-BF16 was seen to take 300 times as long as float32, so the two
# are compared on a small matrix; the speed that estimates rest on comes from a larger one.
_COMPARED, _TIMED = 256, 1024


def _seconds(dtype: torch.dtype, size: int, device: str, repeats: int = 5) -> float:
    """The fastest of a few matrix products of this size, in seconds."""
    a = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(repeats + 1):  # the first one warms up and is beaten by the later ones
        start = time.perf_counter()
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


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
    return Compute(device="cpu", dtype=dtype, reason=reason, gflops=_gflops(getattr(torch, dtype), _TIMED, "cpu"))


def _on_gpu() -> Compute:
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    dtype: Dtype = "bfloat16" if native else "float16"
    name = torch.cuda.get_device_name(0)
    reason = f"{dtype}: {name} {'computes' if native else 'does not compute'} bfloat16 in hardware"
    return Compute(device="cuda", dtype=dtype, reason=reason, gflops=_gflops(getattr(torch, dtype), 4096, "cuda"))


if __name__ == "__main__":
    print((_on_gpu() if torch.cuda.is_available() else _on_cpu()).model_dump_json())
