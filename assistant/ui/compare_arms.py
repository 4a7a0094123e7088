"""Who is compared: the choice, a card for each with what is known of it, and the engines that it takes.

Owns the choice's controls and starting the engines in the background. Refuses to know who can be chosen
(`comparebench`) and what is asked of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import gradio as gr

from assistant.background import Background
from assistant.comparebench import MOST_ARMS, Contender
from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from prompts.errors import TunewrightError

LETTERS = "ABCD"
NOBODY = "Base and tuned model meet here, once there is data."


def who(pipeline: Pipeline, project: Project) -> Hashable:
    """Changes whenever others may be compared, or the same with other prompts. Cheap: it is asked at every tick."""
    elsewhere = pipeline.endpoint(project)
    return (
        project.id,
        project.arms,
        project.shown_run,
        project.spec.base_model,
        project.prompt.id if project.prompt else "",
        project.data.model_dump_json() if project.data else "",
        tuple((run.id, run.name) for run in pipeline.runs(project) if run.has_result),
        elsewhere.name if elsewhere else "",
    )


class ArmsPanel:
    """The choice and the cards. Served are those that are chosen."""

    waits_for = "splits"  # what it takes to serve them depends on the rows' lengths

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._starts: dict[str, Background] = {}
        with gr.Row(elem_classes="tw-bottom"):
            self._choice = gr.Dropdown(
                [], label=f"Who is compared (2 to {MOST_ARMS})", multiselect=True, max_choices=MOST_ARMS,
                interactive=True, scale=6, min_width=300, elem_id="compare-arms",
            )  # fmt: skip
            self._start = gr.Button("Start serving", scale=0, min_width=150, elem_id="compare-start")
            self._stop = gr.Button("Stop serving", scale=0, min_width=150, elem_id="compare-stop-serving")
        self._cards = gr.HTML(elem_id="compare-who")
        self.outputs: list[Any] = [self._choice, self._cards, self._start, self._stop]
        id = desk.project_id
        desk.then_redraw(self._choice.input(guarded(self._choose), [id, self._choice], None, show_progress="hidden"))
        desk.then_redraw(self._start.click(guarded(self._serve), [id], None))
        desk.then_redraw(self._stop.click(guarded(self._end), [id], None))

    def _choose(self, id: str, keys: Sequence[str]) -> None:
        if len(keys) == 1:  # somebody is being exchanged for another
            gr.Info("One alone cannot be compared. Choose another one too.", duration=5)
            return
        self._desk.pipeline.choose_arms(id, keys)

    def _serve(self, id: str) -> None:
        """Have all of them ready in the background."""
        pipeline, before = self._desk.pipeline, self._starts.get(id)
        if before and before.running:
            return
        project, job = pipeline.project(id), Background(message="Starting")
        self._starts[id] = job
        job.start(lambda: _connect(pipeline, project, job), "Serving", "What serves")

    def _end(self, id: str) -> None:
        if job := self._starts.pop(id, None):
            job.stop()
        self._desk.pipeline.engines.stop()

    def signature(self, project: Project) -> Hashable:
        pipeline, job = self._desk.pipeline, self._starts.get(project.id)
        engines = pipeline.engines
        state = (job.running, job.error) if job else None
        return (who(pipeline, project), state, engines.progress, engines.title(), tuple(engines.served))

    def draw(self, project: Project) -> list[Any]:
        pipeline, job = self._desk.pipeline, self._starts.get(project.id)
        if project.data is None:
            return [gr.update(choices=[], value=[]), html.empty(NOBODY), *[gr.update(interactive=False)] * 2]
        busy, chosen = bool(job and job.running), pipeline.chosen(project)
        choices = [(one.title, one.key) for one in pipeline.contenders(project)]
        return [
            gr.update(choices=choices, value=[one.key for one in chosen]),
            self._drawn(project, chosen, job),
            gr.update(interactive=not busy),
            gr.update(interactive=busy or bool(pipeline.engines.served)),
        ]

    def _drawn(self, project: Project, chosen: Sequence[Contender], job: Background | None) -> str:
        shown = html.cards(self._card(letter, one) for letter, one in zip(LETTERS, chosen, strict=False))
        if len(chosen) < 2:
            told = "There is no tuned model yet, so only the base answers. Train one in Train, or choose another one."
            shown += html.notes([("info", told)])
        engines = self._desk.pipeline.engines
        if engines.progress:
            return shown + html.notes([("info", f"{engines.progress} …")])
        wrong = [("error", job.error)] if job and job.error else []
        return shown + self._engines(project, chosen) + html.notes(wrong)

    def _card(self, letter: str, one: Contender) -> tuple[str, str, str, list[tuple[str, str]], str]:
        prompt = ("prompt", one.prompt.id)
        if one.served is None:
            return letter, one.title, "elsewhere", [("asked for as", one.title), prompt], ""
        known = self._desk.pipeline.identity(one)
        if known is None:
            parent = one.served.base.name if one.served.artefact else ""
            facts = [("answers as", one.served.name), ("parent", parent), prompt]
            return letter, one.title, "not loaded yet", facts, ""
        badge = "ready" if self._is_live(one) else "not loaded now"
        told = known.told[:1].upper() + known.told[1:]  # the parent and the weights' digest are in it
        return letter, one.title, badge, [("answers as", known.served_as), prompt], told

    def _is_live(self, one: Contender) -> bool:
        return one.served is None or one.served.name in self._desk.pipeline.engines.served

    def _engines(self, project: Project, chosen: Sequence[Contender]) -> str:
        """What it takes to serve those who are not served yet, and what serves now."""
        pipeline, seats = self._desk.pipeline, ""
        if not all(map(self._is_live, chosen)):
            try:
                seats = " · ".join(seat.told for seat in pipeline.serving_plan(project))
            except TunewrightError as error:
                return html.notes([("error", str(error))])
        return html.aside([("Takes", seats), ("Now", pipeline.engines.title())])


def _connect(pipeline: Pipeline, project: Project, job: Background) -> None:
    pipeline.arms(project, job.tell)
