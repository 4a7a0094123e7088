"""The Train panel: what will happen, Start and Cancel, and the run as it goes on."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr
import pandas as pd

from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from prompts.errors import TunewrightError
from trainers.status import ENDED, RunFolder, RunStatus


class TrainPanel:
    """Before: what Start will do. During and after: progress, curves, log."""

    waits_for = "profile"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._before = gr.Markdown()
        with gr.Row():
            self._start = gr.Button("Start training", variant="primary", elem_id="start-training")
            self._cancel = gr.Button("Cancel", variant="stop", elem_id="cancel-training")
        self._progress = gr.HTML()
        self._curve = gr.LinePlot(
            x="step", y="loss", color="split", title="Loss on completions", height=280, visible=False,
            color_map={"train": "#0f766e", "dev": "#b45309"},
        )  # fmt: skip
        with gr.Accordion("Log", open=False):
            self._log = gr.Code(language=None, show_label=False, interactive=False, lines=8, max_lines=16)
        self.outputs: list[Any] = [self._before, self._start, self._cancel, self._progress, self._curve, self._log]
        desk.then_redraw(self._start.click(guarded(self._go), [desk.project_id], None))
        desk.then_redraw(self._cancel.click(guarded(self._stop), [desk.project_id], None))

    def _go(self, id: str) -> None:
        run = self._desk.pipeline.start_training(id)
        self._desk.conversation.note(id, f"Training has begun as run `{run.id}`.", ("Cancel training",))

    def _stop(self, id: str) -> None:
        self._desk.pipeline.cancel_training(id)

    def signature(self, project: Project) -> Hashable:
        status = self._desk.pipeline.run_status(project)
        prompt = project.prompt.id if project.prompt else None
        plan = project.plan.to_yaml() if project.plan else None
        data = project.data.model_dump_json() if project.data else None
        return (project.run_id, status and (status.state, status.updated), prompt, plan, data, project.spec.base_model)

    def draw(self, project: Project) -> list[Any]:
        run, status = self._desk.pipeline.run(project), self._desk.pipeline.run_status(project)
        busy = status is not None and status.state not in ENDED
        ready = project.data is not None and project.prompt is not None
        buttons = [gr.update(interactive=ready and not busy), gr.update(interactive=busy)]
        if run is None or status is None:
            return [self._what(project, ready), *buttons, "", gr.update(visible=False), ""]
        before = "" if busy else self._what(project, ready)
        curve = _curve(run)
        shown = gr.update(value=curve, visible=len(curve) > 0)
        return [before, *buttons, _progress(run, status), shown, run.log_tail(12)]

    def _what(self, project: Project, ready: bool) -> str:
        if not ready:
            return "Training needs a task, data and a prompt. **Data** is where to begin."
        try:
            return self._desk.conversation.what_will_happen(project.id)
        except TunewrightError as error:
            return f"⚠️ {error}"


def _progress(run: RunFolder, status: RunStatus) -> str:
    left = html.duration(status.seconds_left)
    titles = {"done": "Finished", "failed": "Failed", "cancelled": "Cancelled", "starting": "Starting"}
    title = titles.get(status.state, status.phase.capitalize())
    bar = html.progress(status.fraction, f"{title}: {status.fraction:.0%}", f"{left} left" if left else "")
    figures = [
        ("step", f"{status.step} / {status.total_steps}"),
        ("tokens trained", f"{status.tokens:,}"),
        ("tokens a second", f"{status.tokens_per_second:.0f}"),
    ]
    if status.peak_memory_gb:
        figures.append(("peak memory", f"{status.peak_memory_gb:.1f} GB"))
    kind = {"failed": "error", "cancelled": "warning", "done": "good"}.get(status.state, "info")
    return bar + html.tiles(figures) + html.notes([(kind, f"{status.message} {status.hint}".strip())])


def _curve(run: RunFolder) -> pd.DataFrame:
    rows = [
        (line["step"], line[key], split)
        for line in run.metrics()
        for key, split in (("loss", "train"), ("eval_loss", "dev"))
        if key in line
    ]
    return pd.DataFrame(rows, columns=["step", "loss", "split"])
