"""Exports that go on behind the screen: a child process for each, watched, cancelled, and packed for the download.

Owns their life. The child is `python -m trainers.exporting`, so that no torch is loaded here; it tells its progress as
JSON lines. Refuses to write exports.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from assistant.background import Background
from prompts.errors import RunError
from trainers.exporting.records import ExportReport, Order, Progress
from trainers.paths import PYTHON, worker_environment
from trainers.status import RunFolder

_PATIENCE = 20.0  # seconds that a child gets to clean up
_MOST_PACKED = 4e9  # bytes; a larger folder is better copied where it lies


@dataclass
class Exporting(Background):
    """One export as it goes on; `report` is there once it is done, `packed` where it was packed too."""

    run_id: str
    order: Order
    fraction: float = 0.0
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    report: ExportReport | None = None
    packed: Path | None = None
    _child: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """End it; nothing half written stays."""
        super().stop()
        if self._child and self._child.poll() is None:
            self._child.terminate()

    @property
    def elapsed(self) -> float:
        """Seconds since it began, until it ended."""
        return self.seconds or time.monotonic() - self.begun


class ExportBench:
    """The exports of this process, the latest of each run."""

    def __init__(self) -> None:
        self._jobs: dict[str, Exporting] = {}
        self._packed = TemporaryDirectory(prefix="tunewright-")  # Gradio serves files from there

    def of(self, run: RunFolder) -> Exporting | None:
        """The latest export of a run since the app was started."""
        return self._jobs.get(run.id)

    def start(self, run: RunFolder, order: Order) -> Exporting:
        """Begin an export. Raises `RunError` where another one of this run goes on."""
        if (before := self.of(run)) and before.running:
            raise RunError("An export of this run goes on.", hint="Wait for it, or cancel it.")
        job = Exporting(run.id, order)
        self._jobs[run.id] = job
        job.start(lambda: self._work(job, run), "The export", "The export", lambda: "Cancelled; nothing was kept.")
        return job

    def cancel(self, run: RunFolder) -> None:
        if job := self.of(run):
            job.stop()

    def close(self) -> None:
        """End all that goes on."""
        for job in self._jobs.values():
            job.stop()

    def _work(self, job: Exporting, run: RunFolder) -> None:
        try:
            job.tell("Starting.")
            for progress in self._followed(job, run):
                if progress.error:
                    raise RunError(progress.error, hint=progress.hint)
                job.fraction, job.report = progress.fraction, progress.report or job.report
                job.tell(progress.message)
            if job.report is None:
                raise RunError("The export ended without a word.", hint="Memory may have run out; try a smaller form.")
            if job.report.bytes <= _MOST_PACKED:
                job.tell("Packing it for the download.")
                job.packed = self._pack(job.report)
            job.message, job.fraction = "Done.", 1.0
        finally:
            job.seconds = time.monotonic() - job.begun

    def _followed(self, job: Exporting, run: RunFolder) -> Iterator[Progress]:
        """What the child tells. It is gone when this ends, however that is."""
        with (run.path / "export.log").open("w", encoding="utf-8") as log:
            child = subprocess.Popen(
                [*PYTHON, "trainers.exporting", str(run.path), job.order.model_dump_json()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=worker_environment(),
            )
        job._child = child
        assert child.stdout is not None
        try:
            if job.stopped:  # asked for before there was a child
                child.terminate()
            for line in child.stdout:
                yield Progress.model_validate_json(line)
        finally:
            child.stdout.close()
            if child.poll() is None:
                child.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_PATIENCE)
            if child.poll() is None:
                child.kill()
                child.wait()
        if job.stopped:
            job.tell("")  # raises

    def _pack(self, report: ExportReport) -> Path:
        """One zip of the folder. Weights do not get smaller, so they are not pressed."""
        assert report.folder is not None
        target = Path(self._packed.name) / f"{report.run}-{report.folder.name}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as pack:
            for file in sorted(report.folder.rglob("*")):
                if file.is_file():
                    pack.write(file, f"{report.folder.name}/{file.relative_to(report.folder)}")
        return target
