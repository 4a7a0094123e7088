"""The search for a better prompt: how long, how far it is, what it tried, and what came of it.

Owns these controls. What is found is laid before the person as a proposal, elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr

from assistant.project import Project
from assistant.ui import html, prompt_cards
from assistant.ui.findings import LISTEN
from assistant.ui.panel import Desk, guarded


class ImprovePanel:
    """Budget, start and stop, progress, and the candidates with their scores."""

    waits_for = "splits"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with gr.Accordion("Improve by itself", open=True, elem_id="improve"):
            with gr.Row(elem_classes="tw-bottom"):
                self._minutes = gr.Slider(1, 60, value=5, step=1, label="Minutes it may take", scale=3, min_width=180)
                self._start = gr.Button("Search a better prompt", variant="primary", scale=2, elem_id="improve-start")
                self._stop = gr.Button("Stop", scale=1, min_width=70, interactive=False, elem_id="improve-stop")
            self._progress = gr.HTML(elem_id="improve-progress", js_on_load=LISTEN)
        self.outputs: list[Any] = [self._start, self._stop, self._progress]
        id = desk.project_id
        desk.then_redraw(self._start.click(guarded(self._begin), [id, self._minutes], None))
        desk.then_redraw(self._stop.click(guarded(self._end), [id], None))

        desk.then_redraw(self._progress.click(desk.edits(self._look), [id], None))

    def _look(self, id: str, event: gr.EventData) -> None:
        """Lay a candidate beside the person's version."""
        job = self._desk.pipeline.improvements.get(id)
        lines = job.outcome.table if job and job.outcome else ()
        for line in lines:
            if line.version.id == event._data["key"]:
                self._desk.pipeline.propose(id, line.version)

    def signature(self, project: Project) -> Hashable:
        job = self._desk.pipeline.improvements.get(project.id)
        return (job.running, job.message, job.error, job.fraction) if job else None

    def draw(self, project: Project) -> list[Any]:
        job = self._desk.pipeline.improvements.get(project.id)
        busy = job is not None and job.running
        return [
            gr.update(interactive=not busy),
            gr.update(interactive=busy),
            prompt_cards.search(job) if job else html.notes([("info", _WHAT)]),
        ]

    def _begin(self, id: str, minutes: float) -> None:
        self._desk.conversation.improve(id, minutes)

    def _end(self, id: str) -> None:
        if job := self._desk.pipeline.improvements.get(id):
            job.stop()


_WHAT = (
    "Tries other wordings, what the remarks suggest, and solved examples, all on training rows. What looks best is "
    "held against yours on the dev rows, which the search never saw, and is proposed only where it is better there. "
    "The test rows stay sealed."
)
