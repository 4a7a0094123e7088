"""The Strategy panel: what is advised and why, every other way to tune, and the plan as editable YAML."""

from __future__ import annotations

from collections.abc import Hashable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import yaml

from assistant.advice_words import change_of
from assistant.project import STAGES, Project
from assistant.ui import advice_cards, html
from assistant.ui.findings import LISTEN
from assistant.ui.panel import Desk, guarded
from assistant.ui.trials_box import TrialsBox
from assistant.ways import OBJECTIVES, WAYS
from prompts.errors import PlanError
from trainers.estimating.history import history_file
from trainers.estimating.machines import this_machine
from trainers.hardware import choose_compute, detect
from trainers.plan import TrainingPlan, parse_plan


class StrategyPanel:
    """Advice, the ways there are, and the plan that Start will follow."""

    waits_for = "profile"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._verdict = gr.HTML(elem_id="advice", padding=False, js_on_load=advice_cards.LISTEN_AND_KEEP_OPEN)
        # Between what is advised and the other options: where they are tried for real.
        self.trials = TrialsBox(desk)
        self._others = gr.HTML(elem_id="options", padding=False, js_on_load=advice_cards.LISTEN_AND_KEEP_OPEN)
        with gr.Accordion("What the rules saw", open=False, visible=False, elem_id="saw") as self._facts:
            self._saw = gr.HTML()
        with gr.Accordion("All ways to tune", open=False, elem_id="ways"):
            self._ways = gr.HTML(elem_id="ways-list", js_on_load=LISTEN)
        self._chosen = gr.HTML(elem_id="chosen-plan")
        with gr.Accordion("The plan, as a file: each figure says where it comes from", open=False):
            self._plan = gr.Code(language="yaml", show_label=False, interactive=True, lines=12, max_lines=28)
            with gr.Row():
                save = gr.Button("Use this plan", variant="primary")
                reset = gr.Button("Back to the advised plan")
        self._next = gr.Button("Go on to training", variant="primary")
        self.outputs: list[Any] = [
            self._verdict, self._others, self._facts, self._saw, self._ways, self._chosen, self._plan
        ]  # fmt: skip
        id = desk.project_id
        for cards in (self._verdict, self._others):
            desk.then_redraw(cards.click(guarded(self._act), [id], None))
        desk.then_redraw(self._ways.click(desk.edits(self._choose), [id], None))
        desk.then_redraw(save.click(desk.edits(self._save), [id, self._plan], None))
        desk.then_redraw(reset.click(desk.edits(self._reset), [id], None))
        desk.then_redraw(self._next.click(guarded(self._go_on), [id], None))

    def signature(self, project: Project) -> Hashable:
        pipeline = self._desk.pipeline
        stored, decision = pipeline.score_of(project), pipeline.decision(project)
        return (
            project.data.model_dump_json() if project.data else None,
            project.prompt.id if project.prompt else None,
            project.plan.to_yaml() if project.plan else None,
            project.spec.model_dump_json(),
            str(stored.score) if stored else None,
            decision.model_dump_json() if decision else None,
            _written(history_file(pipeline.settings.paths)),  # runs that ended since correct the estimates
        )

    def draw(self, project: Project) -> list[Any]:
        pipeline = self._desk.pipeline
        advice = pipeline.advice(project)
        ready = project.prompt and project.data and pipeline.examples(project)
        plan, memory = pipeline.plan(project) if ready else None, self._memory_gb()
        shown = [
            advice_cards.verdict(advice, plan, memory),
            advice_cards.others(advice, plan, memory),
            gr.update(visible=bool(advice.facts)),
            advice_cards.saw(advice),
        ]
        if plan is None:
            return [*shown, html.empty("The ways to tune stand here once there is data."), "", ""]
        return [*shown, _ways(plan), _chosen(plan, own=project.plan is not None), pipeline.plan_text(project)]

    def _memory_gb(self) -> float:
        """What this machine has for a model, on the device that it computes with."""
        settings = self._desk.pipeline.settings
        return this_machine(detect(), choose_compute(settings.paths.cache), settings.rates).memory_gb

    # What the cards' buttons ask for

    def _act(self, id: str, event: gr.EventData) -> None:
        key = str(event._data["key"])
        kind, _, what = key.partition(":")
        pipeline = self._desk.pipeline
        if kind == "go":
            pipeline.go_to(id, next(stage for stage in STAGES if stage == what))
            return
        with pipeline.undoable(id):
            self._take(id, key) if kind == "plan" else self._settle(id, key)

    def _take(self, id: str, key: str) -> None:
        """Make an option's plan the project's; one that was tried comes with the wording that was found for it."""
        pipeline = self._desk.pipeline
        project = pipeline.project(id)
        option = advice_cards.plan_for(pipeline.advice(project), key)
        assert option.plan is not None
        if option.measured:
            pipeline.take_candidate(id, option.measured.key)
        else:
            pipeline.check(project, option.plan)
            pipeline.set_plan(id, option.plan)
        self._desk.conversation.note(
            id, f"From the Strategy panel: the plan is now “{option.title}”.", ("Start training",)
        )

    def _settle(self, id: str, key: str) -> None:
        """Make the change of the task that a contradiction offers."""
        pipeline = self._desk.pipeline
        conflict = advice_cards.conflict_for(pipeline.advice(pipeline.project(id)), key)
        pipeline.edit_spec(id, conflict.change)
        self._desk.conversation.note(
            id, f"From the Strategy panel: the task is changed, {change_of(conflict)}.", ("What do you advise?",)
        )

    def _choose(self, id: str, event: gr.EventData) -> None:
        kind, _, key = str(event._data["key"]).partition(":")
        if kind == "objective":
            self._desk.pipeline.choose_strategy(id, objective=OBJECTIVES[key])
        else:
            self._desk.pipeline.choose_strategy(id, strategy=WAYS[key].strategy)
        told = "From the Strategy panel: the plan follows your choice."
        self._desk.conversation.note(id, told, ("Start training",))

    def _save(self, id: str, text: str) -> None:
        try:
            raw = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise PlanError(
                f"That is not valid YAML: {' '.join(str(error).split())}.", hint="Mend that line."
            ) from error
        if not isinstance(raw, dict):
            raise PlanError("That is not a plan: it holds no keys.", hint="Go back to the advised plan.")
        pipeline, plan = self._desk.pipeline, parse_plan(raw)
        pipeline.check(pipeline.project(id), plan)
        pipeline.set_plan(id, plan)
        self._desk.conversation.note(
            id, "From the Strategy panel: training will follow your own plan.", ("Start training",)
        )

    def _reset(self, id: str) -> None:
        self._desk.pipeline.set_plan(id, None)

    def _go_on(self, id: str) -> None:
        self._desk.pipeline.go_to(id, "Train")


def _written(file: Path) -> float:
    """When a file was written; 0 where there is none."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _ways(plan: TrainingPlan) -> str:
    """Every strategy with what it is good for, how it is served, and a button; below, what there is to learn from."""
    rows = "".join(_way(key, plan) for key in WAYS)
    objectives = "".join(
        _button(f"objective:{key}", objective.title, chosen=plan.objective.type == key)
        for key, objective in OBJECTIVES.items()
    )
    return f'<div class="tw-ways">{rows}</div><div class="tw-objectives"><span>Learn from</span>{objectives}</div>'


def _way(key: str, plan: TrainingPlan) -> str:
    way = WAYS[key]
    chosen = way.is_in(plan)
    return (
        f'<div class="tw-way{" tw-chosen" if chosen else ""}" data-way="{escape(key)}"><div><b>{escape(way.title)}</b>'
        f'<div>{escape(way.told)}</div><div class="tw-cost">Served {escape(way.strategy.serving.told)}.</div></div>'
        f"{_button(f'strategy:{key}', 'Chosen' if chosen else 'Choose', chosen=chosen)}</div>"
    )


def _button(key: str, title: str, *, chosen: bool) -> str:
    kind = "tw-pick tw-picked" if chosen else "tw-pick"
    return f'<button type="button" class="{kind}" data-key="{escape(key)}">{escape(title)}</button>'


def _chosen(plan: TrainingPlan, *, own: bool) -> str:
    whose = "Your own plan" if own else "The advised plan"
    how = plan.training
    figures = f", {how.epochs:g} epochs at {how.learning_rate:g}" if plan.strategy.trains else ""
    return html.notes([("info", f"{whose}: {plan.strategy.brief}, {plan.objective.title}{figures}.")])
