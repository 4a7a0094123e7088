"""Profiles made in the background, one at a time, so that a large file never holds up a page.

Owns the work's life: progress, time left, what is known already. Refuses to know what a profile holds.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from trainers.checks import Say
from trainers.profile import DatasetProfile

_KEPT = 8


class _Stopped(Exception):
    """The app ends."""


@dataclass
class Profiling:
    """A profile on its way, or done. `fraction` is in [0, 1]; `what` says what is looked for now."""

    fraction: float = 0.0
    what: str = "waiting"
    begun: float = field(default_factory=time.monotonic)
    _future: Future[DatasetProfile] = field(default_factory=Future)

    @property
    def done(self) -> bool:
        return self._future.done()

    @property
    def seconds_left(self) -> float | None:
        """A guess from what is done, None where that is too little."""
        spent = time.monotonic() - self.begun
        return spent / self.fraction * (1 - self.fraction) if self.fraction > 0.05 and spent > 2 else None

    def result(self, timeout: float | None = None) -> DatasetProfile:
        """The profile, once it is there. Raises what went wrong, and `TimeoutError` after `timeout` seconds."""
        return self._future.result(timeout)

    def wait(self, seconds: float) -> bool:
        """Wait for at most so long; whether it is done, or failed, by then."""
        wait([self._future], timeout=seconds)
        return self.done

    def when_done(self, listener: Callable[[], None]) -> None:
        """Call `listener` once it is done or failed; now if it is already."""
        self._future.add_done_callback(lambda _: listener())


class Profiler:
    """Makes each profile once, and keeps the latest."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="profile")  # two would only share the same cores
        self._jobs: OrderedDict[Hashable, Profiling] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def begin(self, key: Hashable, work: Callable[[Say], DatasetProfile], *, again: bool = False) -> Profiling:
        """The profile that goes by `key`, begun now unless it was before. `work` is given a way to tell progress.

        One that failed is only begun `again` where that is asked for: whoever looks each second must not retry each
        second.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None or (again and job.done and job._future.exception()):
                job = self._jobs[key] = Profiling()
                self._pool.submit(self._run, job, work)
            self._jobs.move_to_end(key)
            while len(self._jobs) > _KEPT and next(iter(self._jobs.values())).done:
                self._jobs.popitem(last=False)
            return job

    def _run(self, job: Profiling, work: Callable[[Say], DatasetProfile]) -> None:
        def say(fraction: float, what: str) -> None:
            if self._closed:
                raise _Stopped
            job.fraction, job.what = fraction, what

        job.begun = time.monotonic()
        try:
            job._future.set_result(work(say))
        except BaseException as error:
            job._future.set_exception(error)

    def close(self) -> None:
        """Stop what is under way."""
        self._closed = True
        self._pool.shutdown(cancel_futures=True)
