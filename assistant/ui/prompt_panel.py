"""The Prompt panel: the current version, its measured score against earlier ones, and what the model will see."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr
import pandas as pd

from assistant.project import Project, StoredPrompt
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from prompts.lint import read_prompt
from prompts.versions import DEFAULT_TEMPLATE
from trainers.data import labels_of


class PromptPanel:
    """Edit, measure, compare and restore prompt versions."""

    waits_for = "splits"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with gr.Row():
            with gr.Column(scale=3):
                self._system = gr.Textbox(label="System prompt", lines=4, elem_id="system-prompt")
                self._template = gr.Textbox(label="The person's turn", info="Jinja; {{ input }} is the row's input")
                self._remarks = gr.HTML()
                with gr.Row():
                    save = gr.Button("Save version", variant="primary")
                    few = gr.Button("Add 4 examples")
                    clear = gr.Button("Remove examples")
            with gr.Column(scale=2):
                self._versions = gr.Dropdown([], label="Versions", interactive=True)
                self._scores = gr.HTML()
                with gr.Row():
                    measure = gr.Button("Measure on dev rows", scale=3)
                    stop = gr.Button("Stop", scale=1, min_width=70)
                self._progress = gr.HTML()
        with gr.Accordion("Three rows, exactly as the model will see them", open=False):
            self._seen = gr.HTML()
        with gr.Accordion("Answers of the last measurement, wrong ones first", open=False):
            self._answers = gr.Dataframe(headers=["input", "expected", "answer", "score"], interactive=False, wrap=True)
        self.outputs: list[Any] = [
            self._system, self._template, self._remarks, self._versions, self._scores, self._seen
        ]  # fmt: skip
        self.measuring = MeasuringPanel(desk, [self._progress, self._answers])
        id = desk.project_id
        desk.then_redraw(save.click(desk.edits(self._save), [id, self._system, self._template], None))
        desk.then_redraw(few.click(desk.edits(self._add_examples), [id], None))
        desk.then_redraw(clear.click(desk.edits(self._remove_examples), [id], None))
        desk.then_redraw(self._versions.input(desk.edits(self._restore), [id, self._versions], None))
        desk.then_redraw(measure.click(guarded(self._measure), [id, self._system, self._template], None))
        stop.click(self._stop, [id], None)

    def signature(self, project: Project) -> Hashable:
        stored = self._desk.pipeline.prompts(project.id)
        current = project.prompt.id if project.prompt else None
        scored = tuple(s.version.id for s in stored if s.score)
        return (current, len(stored), scored, project.data.model_dump_json() if project.data else None)

    def draw(self, project: Project) -> list[Any]:
        prompt, pipeline = project.prompt, self._desk.pipeline
        if prompt is None:
            waiting = html.empty("The first prompt comes once the task is known. You can also write one here.")
            return ["", DEFAULT_TEMPLATE, waiting, gr.update(choices=[], value=None), "", ""]
        stored = pipeline.prompts(project.id)
        labels = labels_of(pipeline.examples(project)) if project.data else project.spec.labels
        remarks = read_prompt(prompt, labels=labels, output_format=project.spec.output_format)
        shown = [("warning", remark.text) for remark in remarks]
        if prompt.demonstrations:
            shown.append(("info", f"{len(prompt.demonstrations)} solved examples are shown before the input."))
        seen = html.rows_as_seen(pipeline.rendered_rows(project, 3)) if project.data else ""
        choices = [(_title(s), s.version.id) for s in reversed(stored)]
        return [
            prompt.system,
            prompt.template,
            html.notes(shown or [("good", "Nothing to remark.")]),
            gr.update(choices=choices, value=prompt.id),
            _bars(stored),
            seen,
        ]

    def _save(self, id: str, system: str, template: str) -> None:
        before = self._desk.pipeline.project(id).prompt
        after = self._desk.pipeline.save_prompt(
            id, system=system, template=template, reason="edited in the panel"
        ).prompt
        if after and (before is None or after.id != before.id):
            self._desk.conversation.note(
                id, f"From the Prompt panel: the prompt is now version `{after.id}`.", ("Measure the prompt",)
            )

    def _add_examples(self, id: str) -> None:
        self._desk.pipeline.add_demonstrations(id)

    def _remove_examples(self, id: str) -> None:
        prompt = self._desk.pipeline.project(id).prompt
        if prompt:
            self._desk.pipeline.save_prompt(
                id, system=prompt.system, template=prompt.template, demonstrations=(), reason="without examples"
            )

    def _restore(self, id: str, version: str) -> None:
        self._desk.pipeline.restore_prompt(id, version)
        self._desk.conversation.note(id, f"From the Prompt panel: back to version `{version}`.")

    def _measure(self, id: str, system: str, template: str) -> None:
        self._save(id, system, template)  # what is on the screen is what is measured
        self._desk.conversation.measure(id)

    def _stop(self, id: str) -> None:
        measurement = self._desk.pipeline.measurements.get(id)
        if measurement:
            measurement.stop()


class MeasuringPanel:
    """The part of the Prompt panel that moves while a measurement runs."""

    def __init__(self, desk: Desk, outputs: list[Any]) -> None:
        self._desk = desk
        self.outputs = outputs

    def signature(self, project: Project) -> Hashable:
        found = self._desk.pipeline.measurements.get(project.id)
        return (found.prompt_id, found.done, found.message, found.error, found.running) if found else None

    def draw(self, project: Project) -> list[Any]:
        found = self._desk.pipeline.measurements.get(project.id)
        if found is None:
            return ["", None]
        if found.error:
            return [html.notes([("error", found.error)]), None]
        if found.running:
            return [html.progress(found.done / found.total, found.message or "Getting ready"), gr.skip()]
        if found.score is None:
            return [html.notes([("info", found.message)]), None]
        rows = sorted(found.answers, key=lambda answer: answer[2])
        table = pd.DataFrame(
            [[row.input, row.output, answer, score] for row, answer, score in rows],
            columns=["input", "expected", "answer", "score"],
        )
        return [html.notes([("good", f"{found.metric} of version {found.prompt_id}: {found.score}.")]), table]


def _title(stored: StoredPrompt) -> str:
    score = f" · {stored.score.value:.0%}" if stored.score else ""
    return f"{stored.version.id} · {stored.version.reason}{score}"


def _bars(stored: list[StoredPrompt]) -> str:
    scored = [s for s in stored if s.score]
    rows = [(s.version.id, s.score.value, s.score.low, s.score.high, str(s.score)) for s in scored if s.score]
    return html.intervals(rows) if rows else html.empty("No version was measured yet.")
