"""Holding Python's search for dead cycles back while a million small objects are made.

It goes over all that is alive each time there is a quarter more, and finds nothing: rows hold no cycles. That takes a
third of the time. Owns that it is never left off, whatever happens and however many threads do so at once.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_holding = 0
_was_on = True


@contextmanager
def no_collecting() -> Iterator[None]:
    """For seconds, not for minutes: what other threads leave behind stays until the end."""
    global _holding, _was_on
    with _lock:
        if not _holding:
            _was_on = gc.isenabled()
            gc.disable()
        _holding += 1
    try:
        yield
    finally:
        with _lock:
            _holding -= 1
            if not _holding and _was_on:
                gc.enable()
