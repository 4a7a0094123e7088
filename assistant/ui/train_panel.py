"""The Train panel: what will happen, Start and Stop, and the run as it goes on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import gradio as gr
import pandas as pd

from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from assistant.ui.runs_panel import RunsPanel
from prompts.errors import TunewrightError
from trainers.status import ENDED, RunFolder, RunStatus

# What can be plotted: title, and the series as (key of the metrics, name).
_PLOTS = {
    "Loss": (("loss", "train"), ("eval_loss", "dev")),
    "Learning rate": (("learning_rate", "rate"),),
    "Tokens a second": (("tokens_per_second", "tokens/s"),),
    "Memory": (("memory_gb", "GB at most"),),
    "Margin": (("rewards/margins", "chosen over rejected"),),
}
_TITLES = {"done": "Finished", "failed": "Failed", "cancelled": "Cancelled", "queued": "Queued"}


class TrainPanel:
    """Before: what Start will do. During and after: progress, curves, log."""

    waits_for = "profile"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._plotted: dict[str, str] = {}  # what each project's plot shows, until the app ends
        self._before = gr.Markdown()
        with gr.Row():
            self._start = gr.Button("Start training", variant="primary", elem_id="start-training", min_width=120)
            self._keep = gr.Button("Stop and keep", elem_id="stop-training", min_width=120)
            self._cancel = gr.Button("Cancel", variant="stop", elem_id="cancel-training", min_width=90)
            self._resume = gr.Button("Resume", elem_id="resume-training", min_width=90)
        self._progress = gr.HTML(elem_id="train-progress")
        self._which = gr.Radio(list(_PLOTS), value="Loss", show_label=False, container=False, visible=False)
        self._curve = gr.LinePlot(
            x="step", y="value", color="series", height=280, visible=False,
            color_map={"train": "#0f766e", "dev": "#b45309"},
        )  # fmt: skip
        with gr.Accordion("Log", open=False):
            self._log = gr.Code(language=None, show_label=False, interactive=False, lines=8, max_lines=16)
        self.runs = RunsPanel(desk)
        self.outputs: list[Any] = [
            self._before, self._start, self._keep, self._cancel, self._resume, self._progress, self._which, self._curve,
            self._log
        ]  # fmt: skip
        id = desk.project_id
        desk.then_redraw(self._start.click(guarded(self._go), [id], None))
        desk.then_redraw(self._keep.click(guarded(desk.pipeline.stop_training), [id], None))
        desk.then_redraw(self._cancel.click(guarded(desk.pipeline.cancel_training), [id], None))
        desk.then_redraw(self._resume.click(guarded(self._go_on), [id], None))
        desk.then_redraw(self._which.input(self._plot, [id, self._which], None))

    def _go(self, id: str) -> None:
        run = self._desk.pipeline.start_training(id)
        self._desk.conversation.note(
            id, self._desk.conversation.acts.training.begun(id, run), ("Stop and keep", "Cancel training")
        )

    def _go_on(self, id: str) -> None:
        run = self._desk.pipeline.resume_training(id)
        self._desk.conversation.note(id, f"Run `{run.name}` goes on.", ("Stop and keep", "Cancel training"))

    def _plot(self, id: str, which: str) -> None:
        self._plotted[id] = which

    def signature(self, project: Project) -> Hashable:
        status = self._desk.pipeline.run_status(project)
        prompt = project.prompt.id if project.prompt else None
        plan = project.plan.to_yaml() if project.plan else None
        data = project.data.model_dump_json() if project.data else None
        told = (status.state, status.updated) if status else None
        return (project.run_id, told, prompt, plan, data, project.spec.base_model, self._plotted.get(project.id))

    def draw(self, project: Project) -> list[Any]:
        run, status = self._desk.pipeline.run(project), self._desk.pipeline.run_status(project)
        busy = status is not None and status.state not in ENDED
        ready = project.data is not None and project.prompt is not None
        buttons = [
            gr.update(interactive=ready, value="Queue another" if busy else "Start training"),
            gr.update(interactive=bool(busy and status and status.phase != "evaluating")),
            gr.update(interactive=busy),
            gr.update(interactive=bool(status and status.state in ("failed", "cancelled"))),
        ]
        hidden = gr.update(visible=False)
        if run is None or status is None:
            return [self._what(project, ready), *buttons, "", hidden, hidden, ""]
        before = "" if busy else self._what(project, ready)
        which = self._plotted.get(project.id, "Loss")
        lines = run.metrics()
        curve = _series(lines, which)
        plots = [name for name, series in _PLOTS.items() if any(key in line for line in lines for key, _ in series)]
        return [
            before,
            *buttons,
            _progress(run, status),
            gr.update(choices=plots, value=which, visible=bool(plots)),
            gr.update(value=curve, visible=len(curve) > 0, title=which),
            run.log_tail(12),
        ]

    def _what(self, project: Project, ready: bool) -> str:
        if not ready:
            return "Training needs a task, data and a prompt. **Data** is where to begin."
        try:
            return self._desk.conversation.what_will_happen(project.id)
        except TunewrightError as error:
            return f"⚠️ {error}"


def _progress(run: RunFolder, status: RunStatus) -> str:
    left = html.duration(status.seconds_left)
    title = _TITLES.get(status.state, status.phase.capitalize())
    bar = html.progress(status.fraction, f"{title}: {status.fraction:.0%}", f"{left} left" if left else "")
    figures = [
        ("step", f"{status.step} / {status.total_steps}"),
        ("tokens trained", f"{status.tokens:,}"),
        ("tokens a second", f"{status.tokens_per_second:.0f}"),
    ]
    if status.peak_memory_gb:
        figures.append(("peak memory", f"{status.peak_memory_gb:.1f} GB"))
    kind = {"failed": "error", "cancelled": "warning", "done": "good"}.get(status.state, "info")
    told = [("warning", note) for note in status.notes]
    last = [(kind, f"{status.message} {status.hint}".strip())]
    tail = html.rows_as_seen([run.log_tail(6)]) if status.state == "failed" else ""
    return bar + html.tiles(figures) + html.notes([*told, *last]) + tail


def _series(lines: Sequence[dict[str, Any]], which: str) -> pd.DataFrame:
    rows = [(line["step"], line[key], name) for line in lines for key, name in _PLOTS[which] if key in line]
    return pd.DataFrame(rows, columns=["step", "value", "series"])
