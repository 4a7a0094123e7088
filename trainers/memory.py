"""How much memory this process took, giving it back, and whether an error says that it ran out. Imports no torch by
itself."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys

# PyTorch's allocator, and oneDNN where it finds no room for its working space.
_TOLD = (
    "DefaultCPUAllocator: can't allocate memory",
    "could not create a primitive",
    "could not create a memory object",
)


def peak_memory_gb() -> float:
    """The most memory this process held: on the GPU where there is one, else resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts KiB


def give_back() -> None:
    """Let go of what nobody uses any more: a trainer and its model hold each other until they are looked for, and an
    allocator keeps what was freed. Before an examination this lowers the peak by what the training took above it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def ran_out(error: BaseException) -> bool:
    """Whether an error means that there was no memory left."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(told in str(error) for told in _TOLD)
