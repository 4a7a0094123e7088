"""Export: the form, a button, what goes on, the proof that it is the served model, the download and how to use it.

Owns the controls and what they show. Refuses to export (`exportbench` has it done).
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import ValidationError

from assistant.exportbench import ExportBench, Exporting
from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from prompts.errors import RunError
from trainers.exporting.records import QUANTIZATIONS, ExportReport, Order
from trainers.status import RunFolder

_FORMS = [
    ("Adapter: small, needs its base", "adapter"),
    ("Merged: one whole model", "merged"),
    ("GGUF: for llama.cpp", "gguf"),
    ("Ollama: GGUF and a Modelfile", "ollama"),
    ("Hub: look first, send later", "hub"),
]
_WITH_TYPE = ("gguf", "ollama")
_NOTHING = "There is nothing to export yet. It comes with the end of a training that left an adapter or a model."
_WHAT = (
    "Each export is loaded again and compared with the served model; what does not answer alike is not kept. "
    "Existing folders are never written over."
)


class ExportBox:
    """Form, progress, proof, download, lines to paste."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._bench = ExportBench()
        with gr.Row():
            self._form = gr.Dropdown(_FORMS, value="adapter", label="Form", scale=2, elem_id="export-form")
            self._kind = gr.Dropdown(
                list(QUANTIZATIONS), value="f16", label="Number type", visible=False, min_width=110, scale=1,
                elem_id="export-kind",
            )  # fmt: skip
            self._repo = gr.Textbox(
                label="Repository", placeholder="owner/name", max_lines=1, visible=False, scale=2, elem_id="export-repo"
            )
            self._folder = gr.Textbox(
                label="Folder",
                placeholder="by default in the run's exports/",
                max_lines=1,
                scale=3,
                elem_id="export-folder",
            )
        with gr.Row():
            self._start = gr.Button("Export", variant="primary", elem_id="export-start", interactive=False)
            self._cancel = gr.Button("Cancel", variant="stop", elem_id="export-cancel", interactive=False)
        self._told = gr.HTML(elem_id="export-told")
        self._download = gr.DownloadButton("Download as zip", visible=False, elem_id="export-download")
        self._lines = gr.Code(
            language="shell", label="How to use it", interactive=False, visible=False, elem_id="export-lines"
        )
        self.outputs: list[Any] = [self._start, self._cancel, self._told, self._download, self._lines]
        self._form.change(_shown_fields, [self._form], [self._kind, self._repo], show_progress="hidden")
        asked = [desk.project_id, self._form, self._kind, self._repo, self._folder]
        desk.then_redraw(self._start.click(guarded(self._go), asked, None))
        desk.then_redraw(self._cancel.click(guarded(self._end), [desk.project_id], None))

    def _run(self, project: Project) -> RunFolder | None:
        return self._desk.pipeline.tuned_run(project)

    def _go(self, id: str, form: str, kind: str, repo: str, folder: str) -> None:
        run = self._run(self._desk.pipeline.project(id))
        if run is None:
            raise RunError("There is nothing to export yet.", hint="Train first.")
        values = {"format": form, "to": Path(folder.strip()).expanduser() if folder.strip() else None}
        values |= {"quantization": kind} if form in _WITH_TYPE else {}
        values |= {"repo": repo.strip()} if form == "hub" else {}
        try:
            order = Order.model_validate(values)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise RunError(f"{reason[:1].upper()}{reason[1:]}.", hint="Change it, and try again.") from error
        self._bench.start(run, order)

    def _end(self, id: str) -> None:
        if run := self._run(self._desk.pipeline.project(id)):
            self._bench.cancel(run)

    def signature(self, project: Project) -> Hashable:
        run = self._run(project)
        job = self._bench.of(run) if run else None
        state = (id(job), job.running, job.message, job.error, job.running and int(job.elapsed)) if job else None
        return (run and run.id, bool(run and run.artefact), state)

    def draw(self, project: Project) -> list[Any]:
        run, hidden = self._run(project), gr.update(visible=False)
        job = self._bench.of(run) if run else None
        busy, ready = bool(job and job.running), bool(run and run.artefact)
        buttons = [gr.update(interactive=ready and not busy), gr.update(interactive=busy)]
        if job is None:
            return [*buttons, html.empty(_WHAT if ready else _NOTHING), hidden, hidden]
        if busy or job.report is None:
            return [*buttons, _progress(job), hidden, hidden]
        packed = gr.update(value=str(job.packed), visible=True) if job.packed else hidden
        lines = "\n\n".join(f"# {how.title}\n{how.lines}" for how in job.report.how_to)
        return [*buttons, _progress(job) + _proof(job.report), packed, gr.update(value=lines, visible=bool(lines))]


def _shown_fields(form: str) -> list[Any]:
    return [gr.update(visible=form in _WITH_TYPE), gr.update(visible=form == "hub")]


def _progress(job: Exporting) -> str:
    if job.running:
        return html.progress(job.fraction, job.message, f"{html.duration(job.elapsed)} so far")
    if job.error:
        return html.notes([("error", job.error)])
    if job.report is None:
        return html.notes([("warning", job.message)])
    told = f"In {job.report.folder}, after {html.duration(job.elapsed)}."
    return html.notes([("good", f"It answers as the served model does. {told}")])


def _proof(report: ExportReport) -> str:
    """The self-test's figures, what a person has to know, and what a hub would get."""
    test = report.self_test
    figures = [
        ("largest difference of a logit", f"{test.difference:.2g}"),
        ("allowed", f"{test.tolerance:g}"),
        ("mean divergence, nats", f"{test.divergence:.2g}"),
        ("of the base", f"{test.from_base_divergence:.2g}"),
        ("of the training that arrived", "none to find" if test.arrived is None else f"{test.arrived:.0%}"),
        ("size", f"{report.bytes / 1e6:,.1f} MB"),
    ]
    notes = [("info", f"{test.places:,} places of {test.chats} texts, loaded in {test.dtype}.")]
    notes += [("warning", note) for note in report.notes]
    return html.tiles(figures) + html.notes(notes) + _upload(report)


def _upload(report: ExportReport) -> str:
    if not (up := report.upload):
        return ""
    seen = "private" if up.private else "public"
    command = f"tunewright export {report.run} --format hub --repo {up.repo} --to {report.folder} --push"
    told = f"Nothing was sent. What would go to {up.repo} ({seen}) is below; this sends it: {command}"
    return html.notes([("info", told)]) + html.table(
        ("file", "bytes"), [(file.path, f"{file.bytes:,}") for file in up.files]
    )
