"""The training process: `python -m trainers.worker RUN_DIR`.

Owns one run from plan to report: wait for the device, check, train or go on training, save, compare base and result.
Everything it has to say goes into the run directory. Heavy imports happen after the status says that work has begun.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from prompts.errors import ModelError, RunError, TunewrightError
from trainers.checking import check_plan, parent_adapter
from trainers.energy import measured
from trainers.estimating.disk import disk_bytes
from trainers.estimating.keeping import Watch
from trainers.hardware import Compute, choose_compute
from trainers.launching import Again, is_main, launched, local_rank, lost_another, write_trouble
from trainers.memory import give_back, peak_memory_gb, ran_out
from trainers.models import LocalModel
from trainers.parents import base_of
from trainers.paths import ON_RAY, Paths, default_paths, require_free_space
from trainers.plan import TrainingPlan
from trainers.queueing import device
from trainers.splits import SPLITS, Splits
from trainers.status import EARLY, Phase, RunFolder
from trainers.strategies import FewShotStrategy, ImportedStrategy, PromptStrategy
from trainers.trials.runs import is_due

Lend = Callable[[TrainingPlan], tuple[Any, Any] | None]


class Cancelled(BaseException):
    """Somebody asked to stop. Not an Exception, so that no library's `except Exception` swallows it."""


class Work:
    """One run's way from plan to report. `lend` gives a base and tokenizer that are loaded already, and None for a plan
    that has to load its own."""

    def __init__(self, run: RunFolder, paths: Paths, lend: Lend = lambda plan: None) -> None:
        self.run, self.paths, self._lend = run, paths, lend
        self.plan = run.plan()
        self.started = 0.0
        self.watch = Watch(run, paths)

    def say(self, phase: Phase, message: str, fraction: float = 0.0, seconds_left: float | None = None) -> None:
        if not is_main():
            return
        now = {"state": "running", "phase": phase, "message": message, "fraction": fraction, "started": self.started}
        self.run.write_status(self.run.written_status().model_copy(update={**now, "seconds_left": seconds_left}))

    def carry_out(self) -> None:
        """Raises a `TunewrightError` or `Cancelled`; the artefact is saved before the report.

        Of several processes the main one does it all, and the others train with it.
        """
        self.started = time.time()
        self.say("preparing", "Finding the base model.")
        plan = self.plan
        if is_due(self.run):
            self._try()
            return
        base = base_of(plan, self.paths)
        compute = choose_compute(self.paths.cache)
        splits = Splits(**{name: self.run.split(name) for name in SPLITS})
        notes = check_plan(plan, base, compute, splits)
        self._note(notes)
        if is_main():
            self.watch.foretell(base, compute)
        if not self.run.has_result:
            self.make(base, compute)
        if not is_main():
            return
        self.watch.made()
        shutil.rmtree(self.run.checkpoints, ignore_errors=True)  # optimizer state, three times an adapter's size
        shutil.rmtree(self.run.begun, ignore_errors=True)
        if splits.test:
            self._evaluate(base, compute)
        done = {"state": "done", "phase": "finished", "fraction": 1.0, "seconds_left": None}
        told = "Stopped as you asked; what it had learned is kept." if self.run.stop_file.exists() else "Finished."
        done |= {"message": told, "peak_memory_gb": peak_memory_gb()}
        self.watch.keep()
        self.run.write_status(self.run.written_status().model_copy(update=done))

    def _try(self) -> None:
        from trainers.trials.carrying import alone

        alone(self.run, self.paths)

    def _note(self, notes: list[str]) -> None:
        if not is_main():
            return
        now = self.run.written_status()
        told = tuple(dict.fromkeys((*now.notes, *notes)))
        self.run.write_status(now.model_copy(update={"notes": told}))

    def make(self, base: LocalModel, compute: Compute) -> None:
        """Train and save, or write the prompt. Raises a `TunewrightError` or `Cancelled`."""
        strategy = self.plan.strategy
        if not is_main() and not (strategy.trains and strategy.by_trl):
            return  # nothing that could be divided
        if isinstance(strategy, FewShotStrategy | PromptStrategy):
            self.run.write_prompt(strategy.version(self.plan.prompt, self.run.split("train")))
        elif isinstance(strategy, ImportedStrategy):
            strategy.save(None, self.run.adapter, None)
        else:
            self._train(base, compute)

    def _train(self, base: LocalModel, compute: Compute) -> None:
        plan = self.plan
        require_free_space(
            self.run.path, disk_bytes(base.parameters, whole=plan.strategy.form == "model"), "This training"
        )
        self.say("preparing", f"Loading {base.name} on {compute.device}, {compute.reason}.")
        from trainers.modeling import load_base, load_tokenizer

        if compute.device == "cuda":
            import torch

            torch.cuda.set_device(local_rank())

        def load() -> tuple[Any, Any]:
            if lent := self._lend(plan):
                return lent
            remote = {"trust_remote_code": plan.trust_remote_code}
            whole = plan.strategy.form == "model"
            options = plan.strategy.load_options()
            model = load_base(base.folder, compute, training=True, whole=whole, **remote, **options)
            tokenizer = load_tokenizer(base.folder, **remote)
            self.watch.loaded()
            return model, tokenizer

        begun = time.monotonic()
        energy = self.run.path / "energy.json"
        with measured(energy, gpu=compute.device == "cuda") if is_main() else nullcontext():
            model, tokenizer = self._learned(load, compute)
        if not is_main():
            return
        seconds = time.monotonic() - begun
        status = self.run.written_status()
        self.run.write_status(status.model_copy(update={"train_seconds": status.train_seconds + seconds}))
        self.say("evaluating", "Saving what it has learned.")
        self.save(model, tokenizer)

    def _learned(self, load: Callable[[], tuple[Any, Any]], compute: Compute) -> tuple[Any, Any]:
        """The model after its training, and its tokenizer."""
        plan = self.plan
        if plan.strategy.by_trl:
            from trainers.recovery import train

            trainer = train(plan, self.run, load, compute, self.started, parent_adapter(plan))
            return trainer.model, trainer.processing_class
        from trainers.meta_run import run_meta

        model, tokenizer = load()
        return run_meta(plan, self.run, model, tokenizer, self.started), tokenizer

    def save(self, model: Any, tokenizer: Any) -> None:
        """Write the artefact under another name first: half an artefact must never look like a whole one."""
        strategy = self.plan.strategy
        target = self.run.model if strategy.form == "model" else self.run.adapter
        draft = target.with_name(f".{target.name}.tmp")
        shutil.rmtree(draft, ignore_errors=True)
        strategy.save(model, draft, self.run.begun if self.run.begun.exists() else None)
        if strategy.form == "model":
            tokenizer.save_pretrained(draft)
        draft.rename(target)

    def _evaluate(self, base: LocalModel, compute: Compute) -> None:
        from trainers.evaluation.examine import examine

        give_back()
        begun = time.monotonic()

        def say(fraction: float, told: str) -> None:
            left = (time.monotonic() - begun) / fraction * (1 - fraction) if fraction else None
            self.say("evaluating", told, fraction, left)

        examine(self.run, base, compute, say)


def explain(error: Exception) -> TunewrightError:
    """One clear sentence for what libraries and the system raise."""
    if isinstance(error, TunewrightError):
        return error
    if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
        return RunError("The disk is full.", hint="Free some space and resume.")
    if ran_out(error):
        return RunError("Memory ran out.", hint="Use a smaller batch_size, shorter rows or a smaller base model.")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(f"Training stopped: {type(error).__name__}: {reason}", hint="The log has the whole story.")


def main(path: Path) -> int:
    """Run and report. Exit code 0 when done, 1 when failed, 3 when cancelled."""

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a launcher and a cluster may both ask; once is enough
        raise Cancelled

    signal.signal(signal.SIGTERM, on_terminate)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    run, paths = RunFolder(path), default_paths()
    try:
        with ExitStack() as held:
            work = Work(run, paths)
            # Else the launcher holds the devices; and tries are to go on side by side, as Ray has divided the machine.
            if not launched() and not (ON_RAY in os.environ and is_due(run)):
                held.enter_context(device(run, paths))
            work.carry_out()
    except Again:
        return 75  # the system's word for: try once more
    except Cancelled:
        if launched():  # also where another process failed: the launcher knows which it was
            return 3
        end, code = {"state": "cancelled", "message": "Cancelled."}, 3
    except Exception as error:
        traceback.print_exc()
        told = explain(error)
        if launched() and lost_another(error):
            return 1  # the launcher knows what became of the other
        if launched() and not is_main():
            write_trouble(run, told)
            return 1
        end, code = {"state": "failed", "message": told.message, "hint": told.hint}, 1
    else:
        return 0
    write_end(run, end)
    return code


def write_end(run: RunFolder, end: dict[str, Any]) -> None:
    """How it ended. Where a result was only examined anew, the report from before stands, and so does the run."""
    if run.has_result and run.report():
        end |= {"state": "done", "phase": "finished", "message": f"{EARLY}: {end['message']}"}
    run.write_status(run.written_status().model_copy(update={**end, "seconds_left": None}))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
