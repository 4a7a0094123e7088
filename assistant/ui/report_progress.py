"""How far an examination of the shown run has come, and a way to give it up. Drawn again while it goes on."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr

from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from trainers import jobs
from trainers.status import EARLY, ENDED, RunFolder, RunStatus


class ReportProgress:
    """A bar and Cancel, there only while the shown run is being examined."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with gr.Row(visible=False, elem_id="report-going") as self._row:
            self._bar = gr.HTML()
            self._cancel = gr.Button("Cancel", variant="stop", scale=0, min_width=90, elem_id="report-cancel")
        self._why = gr.HTML(visible=False)
        self.outputs: list[Any] = [self._row, self._bar, self._why]
        desk.then_redraw(self._cancel.click(guarded(self._give_up), [desk.project_id], None))

    def _give_up(self, id: str) -> None:
        if run := self._run(self._desk.pipeline.project(id)):
            jobs.cancel(run)

    def _run(self, project: Project) -> RunFolder | None:
        return self._desk.pipeline.tuned_run(project)

    def signature(self, project: Project) -> Hashable:
        run = self._run(project)
        if run is None:
            return None
        status = jobs.status(run)
        return (run.id, status.state, status.message, status.hint, round(status.fraction, 2))

    def draw(self, project: Project) -> list[Any]:
        run = self._run(project)
        status = jobs.status(run) if run else None
        if status is None or status.state in ENDED:
            why = _ended(run, status)
            return [gr.update(visible=False), "", gr.update(value=why, visible=bool(why))]
        left = html.duration(status.seconds_left)
        told = status.message or "Examining the result."
        bar = html.progress(status.fraction, told, f"{left} left" if left else "")
        return [gr.update(visible=True), bar, gr.update(visible=False)]


def _ended(run: RunFolder | None, status: RunStatus | None) -> str:
    """Why there is no newer report, where the last examination did not come to its end."""
    if run is None or status is None or not (status.state != "done" or status.message.startswith(EARLY)):
        return ""
    told = status.message if status.state == "done" else f"The last work on this run did not end: {status.message}"
    return html.notes([("warning", f"{told} {status.hint}".strip())])
