"""What the worker tells a person about what a library raised. Its whole runs are in test_jobs."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prompts.errors import DataError
from trainers.status import RunFolder
from trainers.worker import explain


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


NO_SPACE = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DataError("The file is empty."), "The file is empty."),
        (OSError(errno.ENOSPC, NO_SPACE), "The disk is full."),
        (RuntimeError(f"Error while serializing: I/O error: {NO_SPACE} (os error 28)"), "The disk is full."),
        (MemoryError(), "Memory ran out."),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "Memory ran out."),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "Memory ran out."),
        (RuntimeError("could not create a primitive"), "Memory ran out."),
        (ValueError("first line\nsecond line"), "Training stopped: ValueError: first line"),
        (AssertionError(), "Training stopped: AssertionError: AssertionError"),
    ],
)
def test_one_sentence_for_each_error(error: Exception, message: str) -> None:
    assert explain(error).message == message


def test_a_run_without_a_plan_fails_in_its_status(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "trainers.worker", str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == 1
    now = RunFolder(tmp_path).written_status()
    assert now.state == "failed"
    assert "There is no plan" in now.message
