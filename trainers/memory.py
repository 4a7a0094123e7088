"""How much memory this process took, and whether an error says that it ran out. Imports no torch by itself."""

from __future__ import annotations

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


def ran_out(error: BaseException) -> bool:
    """Whether an error means that there was no memory left."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(told in str(error) for told in _TOLD)
