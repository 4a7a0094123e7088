"""Lays out the screen and keeps it in step with the project.

Owns the page, the stepper and the one redraw that every event and the clock share: each panel says by its signature
whether it would look different, and only then is drawn. Refuses to decide anything about the journey.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from importlib.resources import files
from threading import Lock
from typing import Any

import gradio as gr

from assistant.pipeline import Pipeline
from assistant.project import STAGES, Project
from assistant.ui.border import Border, user_of
from assistant.ui.chat_panel import ChatPanel
from assistant.ui.compare_panel import ComparePanel
from assistant.ui.data_panel import DataPanel
from assistant.ui.panel import Desk, Panel
from assistant.ui.project_bar import ProjectBar
from assistant.ui.prompt_panel import PromptPanel
from assistant.ui.report_panel import ReportPanel
from assistant.ui.strategy_panel import StrategyPanel
from assistant.ui.task_panel import TaskPanel
from assistant.ui.train_panel import TrainPanel
from prompts.errors import TunewrightError
from trainers.hardware import detect
from trainers.status import ENDED

_PANELS: dict[str, Callable[[Desk], Any]] = {
    "Task": TaskPanel,
    "Data": DataPanel,
    "Prompt": PromptPanel,
    "Strategy": StrategyPanel,
    "Train": TrainPanel,
    "Report": ReportPanel,
    "Compare": ComparePanel,
}


def build_app(pipeline: Pipeline) -> gr.Blocks:
    """The whole app, not yet launched. See `launch_options` for theme and style."""
    with Border(title="Tunewright", analytics_enabled=False, fill_width=True) as app:
        project_id = gr.State("")
        drawn = gr.State(_Drawn())
        desk = Desk(pipeline, project_id)
        app.watch(project_id, desk.projects)
        bar = ProjectBar(desk)
        with gr.Row(elem_id="tw-body"):
            with gr.Column(scale=4, min_width=340, elem_id="tw-chat"):
                chat = ChatPanel(desk)
            with gr.Column(scale=7, elem_id="tw-panels"), gr.Tabs(elem_id="tw-stepper") as tabs:
                built, steps = {}, []
                for number, stage in enumerate(STAGES, start=1):
                    with gr.Tab(f"{number}  {stage}", id=stage, render_children=True) as step:
                        built[stage] = _PANELS[stage](desk)
                    steps.append(step)
        status = _StatusBar(desk)
        prompt, data, compare = built["Prompt"], built["Data"], built["Compare"]
        panels: list[Panel] = [
            _OpenPanel(tabs), _Stepper(desk, steps), bar, chat, *built.values(), prompt.editor, prompt.versions,
            prompt.improving, prompt.comparing, prompt.answers, built["Train"].runs, data.review, data.writing,
            *built["Strategy"].trials.parts, *built["Report"].parts, *compare.parts, status
        ]  # fmt: skip
        _keep_in_step(app, desk, panels, drawn)
    return app


def launch_options() -> dict[str, Any]:
    """Theme, style and privacy, which Gradio 6 takes at launch."""
    system = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]  # the default theme asks Google for fonts
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "monospace"]
    theme = gr.themes.Soft(primary_hue="teal", neutral_hue="slate", font=system, font_mono=mono).set(
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_padding="0",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        button_large_text_size="*text_md",
        button_large_padding="7px 14px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )
    css = files("assistant.ui").joinpath("style.css").read_text("utf-8")
    return {"theme": theme, "css": css, "run_history": False, "show_error": True, "footer_links": []}


def _keep_in_step(app: gr.Blocks, desk: Desk, panels: list[Panel], drawn: gr.State) -> None:
    outputs = [component for panel in panels for component in panel.outputs]

    def redraw(id: str, drawn: _Drawn, request: gr.Request) -> list[Any]:
        with drawn.turn:
            return draw(id, drawn, request)

    def draw(id: str, drawn: _Drawn, request: gr.Request) -> list[Any]:
        project = desk.projects.begin(user_of(request), id)  # another one, where another tab has deleted this
        if desk.conversation.announce_end(project.id):
            project = desk.pipeline.project(project.id)
        if project.id != id:
            gr.Info("The project that was here has been deleted. This is the one before it.", duration=10)
        after, values, errors = dict(drawn.signatures), [], set()
        for index, panel in enumerate(panels):
            shown, error = _shown(desk, panel, project, index, after)
            values += shown
            errors |= {error} - {""}
        drawn.signatures = after
        for error in errors:  # several panels may fail for one reason: say it once
            gr.Warning(error, duration=15)
        return [*values, gr.skip() if project.id == id else project.id]

    def open_page(request: gr.Request) -> str:
        return desk.projects.begin(user_of(request), str(request.query_params.get("project", ""))).id

    how: dict[str, Any] = {
        "inputs": [desk.project_id, drawn],
        "outputs": [*outputs, desk.project_id],
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    desk.connect_redraw(lambda event: event.success(redraw, **how))
    opened = app.load(open_page, None, desk.project_id, api_visibility="private", show_progress="hidden")
    for script in desk.scripts:
        app.load(None, None, None, js=script)
    clock = gr.Timer(2.0, active=False)  # each tick takes from the cores that train; nothing here moves faster
    opened.then(redraw, **how).then(lambda: gr.Timer(active=True), None, clock, show_progress="hidden")
    clock.tick(redraw, **how, trigger_mode="once", concurrency_limit=8)


class _Drawn:
    """What one page shows: the signature of each panel, by its place. One redraw at a time has its turn: of two that
    began with the same signatures, both would draw a panel, the later one over what somebody has begun to type."""

    def __init__(self) -> None:
        self.signatures: dict[int, Hashable] = {}
        self.turn = Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> _Drawn:
        return _Drawn()  # Gradio copies the first value for each page


def _shown(desk: Desk, panel: Panel, project: Project, index: int, seen: dict[int, Hashable]) -> tuple[list[Any], str]:
    """The panel's values, or skips where it looks as before; and an error's text.

    A panel that cannot be drawn leaves the others alone, and is tried again when its signature changes.
    """
    skips = [gr.skip()] * len(panel.outputs)
    if desk.must_wait(panel, project):  # it is drawn at a later tick
        return skips, ""
    signature = panel.signature(project)
    if seen.get(index) == (project.id, signature):
        return skips, ""
    seen[index] = (project.id, signature)
    try:
        return panel.draw(project), ""
    except TunewrightError as error:
        return skips, str(error)


class _OpenPanel:
    """Which panel is open: the one that the journey brought the person to last, until they go elsewhere."""

    def __init__(self, tabs: gr.Tabs) -> None:
        self.outputs: list[Any] = [tabs]

    def signature(self, project: Project) -> Hashable:
        return project.stage_visits  # not what is done: a vote must not throw the person out of Compare

    def draw(self, project: Project) -> list[Any]:
        return [gr.Tabs(selected=project.stage)]


class _Stepper:
    """Which stages are done."""

    def __init__(self, desk: Desk, steps: list[gr.Tab]) -> None:
        self._desk = desk
        self.outputs: list[Any] = steps

    def signature(self, project: Project) -> Hashable:
        return self._done(project)

    def draw(self, project: Project) -> list[Any]:
        done = self._done(project)
        return [gr.Tab(label=f"{'✓' if s in done else n}  {s}") for n, s in enumerate(STAGES, start=1)]

    def _done(self, project: Project) -> tuple[str, ...]:
        pipeline = self._desk.pipeline
        status, run = pipeline.run_status(project), pipeline.run(project)
        reached = {
            "Task": project.spec.task is not None,
            "Data": project.data is not None,
            "Prompt": any(stored.score for stored in pipeline.prompts(project.id)),
            "Strategy": run is not None,
            "Train": status is not None and status.state == "done",
            "Report": bool((tuned := pipeline.tuned_run(project)) and tuned.report()),
            "Compare": bool(pipeline.store.votes(project.id)),
        }
        return tuple(stage for stage, done in reached.items() if done)


class _StatusBar:
    """Machine, engine and run in one line."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._line = gr.HTML(elem_id="tw-status")
        self.outputs: list[Any] = [self._line]

    def signature(self, project: Project) -> Hashable:
        return self._text(project)

    def draw(self, project: Project) -> list[Any]:
        from html import escape

        return [f"<div>{escape(self._text(project))}</div>"]

    def _text(self, project: Project) -> str:
        pipeline = self._desk.pipeline
        status = pipeline.run_status(project)
        parts = [str(detect()), pipeline.engines.title()]
        if chosen := pipeline.settings.chat_model:
            parts.append(f"chat read by {chosen.model}")
        if status and status.state not in ENDED:
            left = f", {status.seconds_left / 60:.0f} min left" if status.seconds_left else ""
            parts.append(f"run: {status.phase} {status.fraction:.0%}{left}")
        folder = pipeline.trials(project)
        if folder and (trials := pipeline.trials_status(folder)).state not in ENDED:
            parts.append(f"trials: {trials.fraction:.0%}")
        return "  ·  ".join(parts)
