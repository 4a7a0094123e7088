"""The process that tries: `python -m trainers.trials.worker FOLDER`.

Owns one round from order to decision: wait for the device, ask what to try next, have it tried, decide. Everything it
has to say goes into the folder, so that a worker that was cut off is gone on with by the next one. Refuses to choose
(`halving`), to carry out (`here`, or on a cluster `abroad`) and to judge (`deciding`). Heavy imports happen after the
status says that work has begun.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from prompts.errors import RunError
from trainers.paths import Paths, default_paths
from trainers.queueing import device
from trainers.status import RunFolder, RunStatus
from trainers.trials.deciding import decide
from trainers.trials.folder import TrialsFolder
from trainers.trials.halving import Next, next_tries
from trainers.trials.portions import rows_of
from trainers.trials.records import Candidate, Try
from trainers.trials.runs import Trial, begin, labels_for, portion_told, runs_of
from trainers.worker import explain

_OVERTIME = 1.5  # of the budget: a try that takes that long is ended, however near its end it may be


class Stopped(BaseException):
    """Somebody asked to stop. Not an Exception, so that no library's `except Exception` swallows it."""


class Round:
    """One round's way from order to decision."""

    def __init__(self, folder: TrialsFolder, paths: Paths) -> None:
        self.folder, self.paths = folder, paths
        self.order = folder.order()
        self.splits = folder.splits()
        self.begun, self.before = time.monotonic(), folder.status().spent_seconds

    @property
    def budget(self) -> float:
        """Seconds."""
        return self.order.budget_minutes * 60

    @property
    def spent(self) -> float:
        """Seconds, over all starts, in which it could try: not those in which it waited for the device."""
        return self.before + time.monotonic() - self.begun

    def held(self) -> AbstractContextManager[Any]:
        """The device, once it is free; nothing where the tries go to a cluster."""
        return nullcontext() if self.order.cluster else device(_InLine(self.folder), self.paths)

    def carry_out(self) -> None:
        """Try until there is nothing more to try. Raises a `TunewrightError` or `Stopped`."""
        self.begun = time.monotonic()
        self.say("The trials begin.", started=self.folder.status().started or time.time())
        if self.order.cluster:
            from trainers.trials.abroad import Abroad

            Abroad(self).until_over()
        else:
            from trainers.trials.here import Here

            Here(self).until_over()

    def say(self, message: str, doing: Try | None = None, **more: Any) -> None:
        """Write the status. Raises `Stopped` where somebody asked to."""
        now = {"state": "running", "message": message, "doing": doing, "hint": "", "spent_seconds": self.spent}
        now |= {"seconds_left": max(0.0, self.budget - self.spent), "fraction": min(1.0, self.spent / self.budget)}
        self.folder.write_status(self.folder.status().model_copy(update={**now, **more}))
        if self.folder.stop_file.exists():
            raise Stopped

    @property
    def overtime(self) -> bool:
        """Whether a try has gone on far beyond the budget, and is to be ended."""
        return self.spent > _OVERTIME * self.budget

    def next(self) -> Next:
        """What is to be tried next, by all that was."""
        train, dev = self.splits.train, self.splits.dev
        found = next_tries(self.order, self.folder.tried(), train, max(0.0, self.budget - self.spent), len(dev))
        self.say("Choosing what to try next.", out=found.out)
        return found

    def run_for(self, wanted: Try) -> RunFolder:
        """A run folder for a try."""
        candidate, splits = self.candidate(wanted.key), self.splits
        labels = labels_for(candidate, (*splits.train, *splits.dev))
        trial = Trial(trials=self.folder.id, tried=wanted, labels=labels, wordings=candidate.wordings)
        rows = rows_of(wanted, splits.train, splits.dev, self.order.seed)
        spec = self.folder.spec()
        return begin(
            candidate, trial, rows.learn, rows.asked, self.paths, test=splits.test, arena=splits.arena, spec=spec
        )

    def unnoted(self) -> Iterator[tuple[RunFolder, Trial]]:
        """The runs of a worker before this one that were cut off, or whose outcome it did not get to note."""
        noted = {one.run for one in self.folder.tried()}
        return ((run, trial) for run, trial in runs_of(self.folder.id, self.paths) if run.id not in noted)

    def candidate(self, key: str) -> Candidate:
        return next(one for one in self.order.candidates if one.key == key)

    def told(self, wanted: Try) -> str:
        """A try in words."""
        return f"{self.candidate(wanted.key).title} on {portion_told(wanted)}"

    def decide(self) -> None:
        """Write what the tries prove. Raises `RunError` where none of them has a score."""
        tried = self.folder.tried()
        if not any(one.scores for one in tried):
            why = next((one.failed for one in reversed(tried) if one.failed), "the budget does not allow one try.")
            raise RunError(f"No option could be tried: {why}", hint="Give more minutes, or other options.")
        self.folder.write_decision(decide(self.order, tried, len(self.splits.train)))


class _InLine(RunFolder):
    """The trials as the queue knows what waits: what it says there goes into their own status."""

    def __init__(self, folder: TrialsFolder) -> None:
        super().__init__(folder.path)
        self._folder = folder

    def written_status(self) -> RunStatus:
        return RunStatus()

    def write_status(self, status: RunStatus) -> None:
        now = {"state": "queued", "message": status.message, "doing": None}
        self._folder.write_status(self._folder.status().model_copy(update=now))


def main(path: Path) -> int:
    """Try, decide and report. Exit code 0 when done, 1 when failed, 3 when stopped."""

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is left to do is soon done
        raise Stopped

    signal.signal(signal.SIGTERM, on_terminate)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    folder = TrialsFolder(path)
    try:
        end = _carried_out(Round(folder, default_paths()))
    except Stopped:  # before it had begun
        end = {"state": "cancelled", "message": "Stopped before anything was tried."}
    except Exception as error:
        traceback.print_exc()
        told = explain(error)
        end = {"state": "failed", "message": told.message, "hint": told.hint}
    folder.write_status(folder.status().model_copy(update={"doing": None, "seconds_left": None, **end}))
    return {"done": 0, "cancelled": 3}.get(end["state"], 1)


def _carried_out(trials: Round) -> dict[str, Any]:
    """How it ended. What was tried is decided from, also where somebody stopped it or it failed half way."""
    failed: Exception | None = None
    end = {"state": "done", "message": "Done", "fraction": 1.0}
    try:
        with trials.held():
            trials.carry_out()
    except Stopped:
        end = {"state": "cancelled", "message": "Stopped"}
    except Exception as error:
        failed = error
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tried = trials.folder.tried()
    if failed is None and end["state"] == "cancelled" and not tried:
        return {**end, "message": "Stopped before anything was tried."}
    if failed is None or tried:
        trials.decide()
    if failed is not None:
        raise failed
    tries = f"{len(tried)} {'try' if len(tried) == 1 else 'tries'}"
    return {**end, "spent_seconds": trials.spent, "message": f"{end['message']} after {tries}."}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
