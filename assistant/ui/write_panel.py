"""Having a model write more rows: how many, by whom, what the trial showed, and progress.

Owns these controls. What was written is looked at in the review; nothing is added here.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr

from assistant.pipeline import Writer
from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from assistant.writing import Writing
from prompts.errors import TunewrightError

_EMBEDDED = (
    "The embedded model is too small for this: in our trial on the sample's tickets none of 12 rows could be used. "
    "Set TUNEWRIGHT_CHAT_URL and TUNEWRIGHT_CHAT_MODEL to a larger one, here or elsewhere; a trial with this one takes "
    "minutes."
)


class WritePanel:
    """The offer, the work as it goes on, and what came of it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with gr.Accordion("Too few rows? Have a model write more", open=False, elem_id="write-rows") as self._box:
            self._who = gr.HTML()
            with gr.Row(elem_classes="tw-bottom"):
                self._count = gr.Number(
                    40, label="New rows", minimum=1, maximum=1000, precision=0, scale=1, min_width=110
                )
                self._insist = gr.Checkbox(
                    label="Go on whatever the trial shows", value=False, visible=False, scale=2, min_width=200
                )
                self._start = gr.Button("Write them", variant="primary", elem_id="write-start", scale=1)
                self._stop = gr.Button("Stop", elem_id="write-stop", scale=1, interactive=False)
            self._progress = gr.HTML(elem_id="write-progress")
        self.outputs: list[Any] = [self._box, self._who, self._insist, self._start, self._stop, self._progress]
        asked = [desk.project_id, self._count, self._insist]
        desk.then_redraw(self._start.click(guarded(self._write), asked, None))
        desk.then_redraw(self._stop.click(guarded(self._end), [desk.project_id], None))

    waits_for = "splits"

    def _write(self, id: str, count: float, insist: bool) -> None:
        before = self._desk.pipeline.writings.get(id)
        job = self._desk.pipeline.start_writing(id, int(count), insist=insist)
        if job is not before:
            job.when_done(lambda done: self._tell(id, done))

    def _tell(self, id: str, done: Writing) -> None:
        waiting = f" {len(done.kept)} rows wait for your look in **Data**." if done.kept else ""
        self._desk.conversation.note(id, f"Writing rows: {done.error or done.message}{waiting}")

    def _end(self, id: str) -> None:
        if job := self._desk.pipeline.writings.get(id):
            job.stop()

    def signature(self, project: Project) -> Hashable:
        job = self._desk.pipeline.writings.get(project.id)
        state = (job.running, job.message, job.error, len(job.rows)) if job else None
        data = project.data.model_dump_json() if project.data else None
        return (data, project.spec.base_model, project.spec.local_only, state)

    def draw(self, project: Project) -> list[Any]:
        if project.data is None:
            return [gr.update(visible=False), *[gr.skip()] * 5]
        job = self._desk.pipeline.writings.get(project.id)
        busy = job is not None and job.running
        who, able = self._offer(project)
        failed = job is not None and job.trial is not None and not job.trial.good
        return [
            gr.update(visible=True, open=job is not None),
            who,
            gr.update(visible=failed),
            gr.update(interactive=able and not busy),
            gr.update(interactive=busy),
            _progress(job) if job else "",
        ]

    def _offer(self, project: Project) -> tuple[str, bool]:
        """Who would write, what leaves the machine, and whether it can begin."""
        try:
            writer = self._desk.pipeline.writer(project)
        except TunewrightError as error:
            return html.notes([("warning", str(error))]), False
        return html.notes(_words(writer, self._desk.pipeline.settings.chat_model is None)), True


def _words(writer: Writer, is_base: bool) -> list[tuple[str, str]]:
    where = f"at {writer.host}: some of your training rows are sent there" if writer.host else "on this machine"
    words = [
        (
            "info",
            f"{writer.name} writes, {where}. A trial of about 12 rows comes first. Each new row is marked as "
            "synthetic, held against all of your rows, shown to you before it is added, and only ever trained on.",
        )
    ]
    return [*words, ("warning", _EMBEDDED)] if is_base and "SmolLM2-135M" in writer.name else words


def _progress(job: Writing) -> str:
    if job.error:
        return html.notes([("error", job.error)])
    if not job.running:
        kind = "good" if job.kept else "warning"
        trial = [("info", job.trial.text)] if job.trial and job.trial.text != job.message else []
        return html.notes([(kind, job.message), *trial])
    left = html.duration(job.seconds_left)
    return html.progress(len(job.kept) / job.wanted, job.message, f"about {left} left" if left else "")
