"""Versions of the prompt: the tree, what each scored, and two of them side by side on the same rows.

Owns these and the measuring that fills them. Which two are compared is kept here for each project, until the app ends.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import gradio as gr

from assistant.project import Project
from assistant.ui import html, prompt_cards
from assistant.ui.findings import LISTEN
from assistant.ui.panel import Desk, guarded
from prompts.history import tree_of


class VersionsPanel:
    """The tree with its scores, and the button that measures."""

    waits_for = "splits"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pairs: dict[str, tuple[str, str]] = {}
        with gr.Row():
            self._measure = gr.Button("Measure on dev rows", scale=3, elem_id="measure")
            self._stop = gr.Button("Stop", scale=1, min_width=70, elem_id="measure-stop")
        self._progress = gr.HTML(elem_id="measure-progress")
        self._tree = gr.HTML(elem_id="prompt-tree", js_on_load=LISTEN)
        self.outputs: list[Any] = [self._progress, self._stop, self._tree]
        id = desk.project_id
        desk.then_redraw(self._tree.click(desk.edits(self._act), [id], None))
        self._stop.click(self._end, [id], None)

    def measures(self, save: Callable[..., Any], written: list[Any]) -> None:
        """Measuring first saves what stands in the editor: what is on the screen is what is measured."""
        saved = self._measure.click(save, [self._desk.project_id, *written], None)
        self._desk.then_redraw(saved.success(guarded(self._begin), [self._desk.project_id], None))

    def comparison(self) -> ComparisonPanel:
        """Two versions side by side, drawn where this is called."""
        return ComparisonPanel(self._desk, self.pair)

    def pair(self, project: Project) -> tuple[str, str] | None:
        """Which two are compared: the person's choice, else the current version with what it grew from."""
        known = {stored.version.id for stored in self._desk.pipeline.prompts(project.id)}
        chosen = self._pairs.get(project.id)
        if chosen and known.issuperset(chosen):
            return chosen
        current = project.prompt
        return (current.parent, current.id) if current and current.parent in known and current.parent else None

    def signature(self, project: Project) -> Hashable:
        job = self._desk.pipeline.measurements.get(project.id)
        state = (job.prompt_id, job.done, job.message, job.error, job.running) if job else None
        stored = tuple((s.version.id, str(s.score)) for s in self._desk.pipeline.prompts(project.id))
        data = project.data.model_dump_json() if project.data else None
        current = project.prompt.id if project.prompt else None
        return (state, stored, current, self.pair(project), data, project.spec.metric, project.spec.output_format)

    def draw(self, project: Project) -> list[Any]:
        pipeline = self._desk.pipeline
        job = pipeline.measurements.get(project.id)
        stored = pipeline.prompts(project.id)
        if not stored or project.prompt is None:
            return ["", gr.update(interactive=False), html.empty("Every version of the prompt will stand here.")]
        shown = prompt_cards.Tree(
            scores={s.version.id: s for s in stored},
            comparable=frozenset(s.version.id for s in pipeline.measured(project)),
            current=project.prompt.id,
            compared=self.pair(project),
        )
        return [
            prompt_cards.measurement(job) if job else "",
            gr.update(interactive=bool(job and job.running)),
            prompt_cards.tree(tree_of([s.version for s in stored]), shown),
        ]

    def _begin(self, id: str) -> None:
        self._desk.conversation.measure(id)

    def _end(self, id: str) -> None:
        if job := self._desk.pipeline.measurements.get(id):
            job.stop()

    def _act(self, id: str, event: gr.EventData) -> None:
        """A button in the tree."""
        what, version = event._data["key"].split(":")
        project = self._desk.pipeline.project(id)
        if what == "restore":
            self._pairs.pop(id, None)
            self._desk.pipeline.restore_prompt(id, version)
            self._desk.conversation.note(id, f"From the Prompt panel: back to version `{version}`.")
        elif project.prompt:
            self._pairs[id] = (version, project.prompt.id)


class ComparisonPanel:
    """What changed between two versions: the verdict first, then the rows, worst first."""

    waits_for = "splits"

    def __init__(self, desk: Desk, pair: Callable[[Project], tuple[str, str] | None]) -> None:
        self._desk, self._pair = desk, pair
        self._shown = gr.HTML(elem_id="prompt-comparison")
        self.outputs: list[Any] = [self._shown]

    def signature(self, project: Project) -> Hashable:
        pair = self._pair(project)
        scores = {s.version.id: str(s.score) for s in self._desk.pipeline.prompts(project.id)}
        data = project.data.model_dump_json() if project.data else None
        return (pair, tuple(scores.get(id) for id in pair or ()), data, project.spec.metric)

    def draw(self, project: Project) -> list[Any]:
        pair = self._pair(project)
        if pair is None or project.data is None:
            return [""]
        found = self._desk.pipeline.compare_prompts(project, *pair)
        return [prompt_cards.comparison(found, *pair)]
