"""The tries of a round in this process, one after the other, on one loaded base. Imports torch.

Owns what is kept of a try that is cut off: nothing, since it is done again.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from prompts.errors import RunError
from trainers.trials.carrying import carry
from trainers.trials.records import Try
from trainers.trials.runs import TOO_LONG, tried_of
from trainers.trials.scoring import Memory
from trainers.trials.sharing import Shared, open_shared

if TYPE_CHECKING:
    from trainers.trials.worker import Round


class Here:
    """A round's tries on this machine."""

    def __init__(self, trials: Round) -> None:
        self.trials = trials
        self.memory = Memory(trials.folder.answers)

    def until_over(self) -> None:
        """Raises a `TunewrightError` where the base cannot be loaded, and what the round's `say` raises."""
        trials = self.trials
        self._tidy_up()
        shared = open_shared(trials.order.candidates[0].plan, trials.paths, trials.order.device)
        trials.say(f"Loading {shared.base.name} on {shared.compute.device}, {shared.compute.reason}.")
        shared.pair()
        while tries := trials.next().tries:
            self._one(tries[0], shared)

    def _one(self, wanted: Try, shared: Shared) -> None:
        """One at a time, and then another look: what it took tells what the next ones may."""
        trials, told = self.trials, self.trials.told(wanted)
        trials.say(f"Trying {told}.", doing=wanted)
        run = trials.run_for(wanted)
        mine = run.path / "worker.json"
        with suppress(FileNotFoundError):  # so that a run whose try was killed does not show as running
            shutil.copy(trials.folder.worker_file, mine)

        def watch(message: str, fraction: float) -> None:
            trials.say(f"Trying {told}. {message}", doing=wanted)
            if trials.overtime:
                raise RunError(TOO_LONG, hint="Give more minutes.")

        try:
            found = carry(run, shared, trials.paths, memory=self.memory, watch=watch)
        except BaseException:
            if tried_of(run) is None:
                shutil.rmtree(run.path, ignore_errors=True)
            raise
        mine.unlink(missing_ok=True)
        trials.folder.add(found)

    def _tidy_up(self) -> None:
        """Note what a worker before this one finished, and remove what it left half done."""
        for run, trial in self.trials.unnoted():
            found = tried_of(run)
            if found and not any(one.tried == trial.tried for one in self.trials.folder.tried()):
                self.trials.folder.add(found)
            else:
                shutil.rmtree(run.path, ignore_errors=True)
