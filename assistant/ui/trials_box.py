"""Trying the options: what it would do and its budget, how far it is, how each option stands, and what that proves.

Owns what is drawn and its buttons. What moves while something is tried is a part of its own, so that the table and the
plots stay as they are until a try has ended. Refuses to know when an option can no longer win (`trainers.trials`).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr

from assistant.advice.bases import is_away
from assistant.project import Project
from assistant.standing import standings
from assistant.trialbench import MINUTES, stamp_of
from assistant.ui import trials_told
from assistant.ui.findings import LISTEN
from assistant.ui.panel import Desk, guarded
from assistant.ui.trials_plot import plots
from prompts.errors import TunewrightError
from trainers.hardware import detect
from trainers.trials.folder import ENDED, TrialsFolder
from trainers.trials.records import TrialsStatus

_DEVICES = [("Best for this machine", ""), ("CPU", "cpu"), ("GPU", "cuda")]


class TrialsBox:
    """Before and while: what is tried, the budget, Start, Stop and Go on, and progress."""

    waits_for = "profile"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        gpus = bool(detect().gpus)
        with gr.Column(elem_id="trials", elem_classes="tw-trials"):
            self._head = gr.HTML(elem_id="trials-head")
            with gr.Row(elem_classes="tw-bottom"):
                self._minutes = gr.Slider(
                    1, 120, value=MINUTES["cuda" if gpus else "cpu"], step=1, label="Minutes it may take", scale=4,
                    min_width=180, elem_id="trials-minutes",
                )  # fmt: skip
                self._device = gr.Radio(
                    _DEVICES, value="", label="Computes on", visible=gpus, scale=3, min_width=180,
                    elem_id="trials-device",
                )  # fmt: skip
                self._start = gr.Button(
                    "Try the options", variant="primary", scale=2, min_width=130, elem_id="trials-start"
                )
                self._stop = gr.Button("Stop", scale=1, min_width=70, interactive=False, elem_id="trials-stop")
                self._resume = gr.Button("Go on", scale=1, min_width=80, visible=False, elem_id="trials-resume")
            with gr.Accordion("On a Ray cluster, several at once", open=False, elem_id="trials-on"):
                self._cluster = gr.Textbox(
                    label="Its address", placeholder="ray://HOST:10001 or http://HOST:8265; empty: this machine",
                    elem_id="trials-cluster",
                )  # fmt: skip
            self._progress = gr.HTML(elem_id="trials-progress")
            self.results = TrialsResults(desk)
        self.outputs: list[Any] = [self._head, self._start, self._stop, self._resume, self._progress]
        self.parts = (self, self.results)
        id = desk.project_id
        asked = [id, self._minutes, self._device, self._cluster]
        desk.then_redraw(self._start.click(guarded(self._begin), asked, None))
        desk.then_redraw(self._stop.click(guarded(self._end), [id], None))
        desk.then_redraw(self._resume.click(guarded(self._go_on), [id, self._minutes], None))

    def _begin(self, id: str, minutes: float, device: str, cluster: str) -> None:
        self._desk.conversation.acts.trials.begin(id, minutes, device or "", cluster or "")
        self._desk.conversation.note(
            id, f"From the Strategy panel: I try the options, for at most {minutes:g} minutes.", ("Stop the trials",)
        )

    def _end(self, id: str) -> None:
        self._desk.pipeline.stop_trials(id)

    def _go_on(self, id: str, minutes: float) -> None:
        pipeline = self._desk.pipeline
        folder = pipeline.trials(pipeline.project(id))
        more = minutes if folder and pipeline.more_to_try(folder) else None
        told = self._desk.conversation.acts.trials.go_on(id, more)
        self._desk.conversation.note(id, told, ("Stop the trials",))

    def signature(self, project: Project) -> Hashable:
        pipeline = self._desk.pipeline
        folder = pipeline.trials(project)
        status = pipeline.trials_status(folder) if folder else None
        return (
            folder.id if folder else None,
            (status.state, status.updated) if status else None,
            project.data.model_dump_json() if project.data else None,
            project.prompt.id if project.prompt else None,
            project.spec.model_dump_json(),
            project.plan.base_model if project.plan else None,
        )

    def draw(self, project: Project) -> list[Any]:
        pipeline = self._desk.pipeline
        folder = pipeline.trials(project)
        if folder is None:
            head, ready = self._before(project)
            return [head, gr.update(interactive=ready, value="Try the options"), *_off(), ""]
        status = pipeline.trials_status(folder)
        over = status.state in ENDED
        ready = over and project.data is not None and project.prompt is not None
        return [
            trials_told.head(folder, status),
            gr.update(interactive=ready, value="Try again" if over else "Try the options"),
            gr.update(interactive=not over),
            _resume(status, more=pipeline.more_to_try(folder)),
            trials_told.progress(folder, status, train_rows(folder)),
        ]

    def _before(self, project: Project) -> tuple[str, bool]:
        """What Start would do, and whether it can."""
        pipeline = self._desk.pipeline
        if project.data is not None and is_away(pipeline.base_ref(project)):  # a page never fetches one
            return trials_told.to_be_fetched(pipeline.base_ref(project)), project.prompt is not None
        try:
            options = pipeline.trial_options(project)
            return trials_told.before(options, pipeline.base(project).name, pipeline.splits(project)), True
        except TunewrightError as error:
            return trials_told.not_now(error), False


class TrialsResults:
    """While and after: the verdict, the table, the plots."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._verdict = gr.HTML(elem_id="trials-verdict", js_on_load=LISTEN)
        self._table = gr.HTML(elem_id="trials-table", js_on_load=LISTEN)
        self._plots = gr.HTML(elem_id="trials-plots")
        self.outputs: list[Any] = [self._verdict, self._table, self._plots]
        for cards in (self._verdict, self._table):
            desk.then_redraw(cards.click(desk.edits(self._act), [desk.project_id], None))

    def _act(self, id: str, event: gr.EventData) -> None:
        """What a button asks for: an option's plan, or a try's run."""
        kind, _, key = str(event._data["key"]).partition(":")
        pipeline = self._desk.pipeline
        if kind == "open":
            run = pipeline.open_trial(id, key)
            pipeline.go_to(id, "Report")
            if run.report() is None:
                gr.Info("This run is a try on part of the rows. Examine now tests it on the test rows.", duration=15)
            return
        plan = pipeline.take_candidate(id, key)
        told = f"From the trials: the plan is now {plan.strategy.brief}, with the prompt that was tried."
        self._desk.conversation.note(id, told, ("Start training",))

    def signature(self, project: Project) -> Hashable:
        pipeline = self._desk.pipeline
        folder = pipeline.trials(project)
        if folder is None:
            return None
        status = pipeline.trials_status(folder)
        doing = status.doing.key if status.doing else ""
        return (
            folder.id, status.state, doing, len(status.out), *stamp_of(folder), pipeline.outdated(project, folder),
            tuple(run.id for run in pipeline.runs(project)),
        )  # fmt: skip

    def draw(self, project: Project) -> list[Any]:
        pipeline = self._desk.pipeline
        folder = pipeline.trials(project)
        if folder is None:
            return ["", "", ""]
        status, tried, decision = pipeline.trials_status(folder), folder.tried(), folder.decision()
        order = folder.order()
        found = standings(order, status, tried, decision)
        outdated = pipeline.outdated(project, folder)
        over = status.state in ENDED
        return [
            trials_told.verdict(found, status, decision, outdated) if over else "",
            trials_told.table(found, plan=not outdated and over),
            plots(found, train_rows(folder)),
        ]


def train_rows(folder: TrialsFolder) -> int | None:
    """How many training rows there were; None where the trials' rows are gone."""
    try:
        return len(folder.splits().train)
    except TunewrightError:
        return None


def _resume(status: TrialsStatus, *, more: bool) -> Any:
    """The button that goes on with what was cut off, or was ended by its budget."""
    cut_off = status.state in ("failed", "cancelled")
    return gr.update(visible=cut_off or more, value="More minutes" if more else "Go on")


def _off() -> list[Any]:
    """Stop and Go on, before there is anything."""
    return [gr.update(interactive=False), gr.update(visible=False)]
