"""The tries of a round on a Ray cluster, several at once, each a run that is sent there as any other is.

Owns which runs are on their way, also those that a worker before this one sent. Refuses to send (`jobs`, `on_ray`).
Never imports torch.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from trainers import jobs, ray_cluster
from trainers.status import ENDED, RunFolder
from trainers.trials.records import Tried, Try
from trainers.trials.runs import TOO_LONG, tried_of, write_tried

if TYPE_CHECKING:
    from trainers.trials.worker import Round

_LOOK_SECONDS = 1.0
_PATIENCE = 15.0  # seconds for jobs to end that were told to; `life` kills who takes more than 20


class Abroad:
    """A round's tries on its cluster."""

    def __init__(self, trials: Round) -> None:
        self.trials = trials
        self.sent: dict[Try, RunFolder] = {}

    def until_over(self) -> None:
        """Raises a `TunewrightError` where nothing can be sent, and what the round's `say` raises; then the jobs are
        stopped there."""
        try:
            self._find_again()
            while True:
                for wanted in self.trials.next().tries:
                    if wanted not in self.sent:
                        self._send(wanted)
                if not self.sent:
                    return
                self._wait_for_one()
        except BaseException:
            self._call_back()
            raise

    def _find_again(self) -> None:
        """Runs that were sent before and go on, or have ended meanwhile; the others are removed."""
        for run, trial in self.trials.unnoted():
            noted = any(one.tried == trial.tried for one in self.trials.folder.tried())
            if noted or (jobs.status(run).state in ENDED and tried_of(run) is None):
                shutil.rmtree(run.path, ignore_errors=True)
            else:
                self.sent[trial.tried] = run

    def _send(self, wanted: Try) -> None:
        cluster = self.trials.order.cluster
        assert cluster is not None
        run = self.trials.run_for(wanted)
        ray_cluster.keep(run, cluster)
        self.sent[wanted] = run
        jobs.start(run)

    def _wait_for_one(self) -> None:
        while not (over := [wanted for wanted, run in self.sent.items() if jobs.status(run).state in ENDED]):
            told = "; ".join(f"{self.trials.told(wanted)}: {jobs.status(run).message}" for wanted, run in self._shown())
            self.trials.say(f"{len(self.sent)} at once. {told}", doing=next(iter(self.sent)))
            if self.trials.overtime:
                self._give_up()
                return
            time.sleep(_LOOK_SECONDS)
        for wanted in over:
            self._note(wanted, self.sent.pop(wanted))

    def _shown(self) -> list[tuple[Try, RunFolder]]:
        return list(self.sent.items())[:4]

    def _note(self, wanted: Try, run: RunFolder, why: str = "") -> None:
        """What came back; of a run that failed there, why."""
        found = tried_of(run)
        if found is None:
            found = Tried(tried=wanted, rows=len(run.split("train")), failed=why or jobs.status(run).message)
        found = found.model_copy(update={"run": run.id})
        write_tried(run, found)
        self.trials.folder.add(found)

    def _give_up(self) -> None:
        """End what has gone on far beyond the budget."""
        self._stop_jobs()
        while self.sent:
            wanted, run = self.sent.popitem()
            self._note(wanted, run, TOO_LONG)

    def _stop_jobs(self) -> None:
        for run in self.sent.values():
            jobs.cancel(run)
        until = time.monotonic() + _PATIENCE
        while any(jobs.status(run).state not in ENDED for run in self.sent.values()) and time.monotonic() < until:
            time.sleep(0.2)

    def _call_back(self) -> None:
        """Stop the jobs, and remove what they left."""
        self._stop_jobs()
        for run in self.sent.values():
            if tried_of(run) is None:
                shutil.rmtree(run.path, ignore_errors=True)
