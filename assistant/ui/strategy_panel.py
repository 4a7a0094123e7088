"""The Strategy panel: what is advised and why, every other way to tune, and the plan as editable YAML."""

from __future__ import annotations

from collections.abc import Hashable
from html import escape
from typing import Any

import gradio as gr
import yaml

from assistant.project import Project
from assistant.recommend import Option
from assistant.ui import html
from assistant.ui.findings import LISTEN
from assistant.ui.panel import Desk, guarded
from assistant.ways import OBJECTIVES, WAYS
from prompts.errors import PlanError
from trainers.plan import TrainingPlan, parse_plan


class StrategyPanel:
    """Advice, the ways there are, and the plan that Start will follow."""

    waits_for = "profile"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._options = gr.HTML()
        with gr.Accordion("All ways to tune", open=False, elem_id="ways"):
            self._ways = gr.HTML(elem_id="ways-list", js_on_load=LISTEN)
        self._chosen = gr.HTML(elem_id="chosen-plan")
        with gr.Accordion("The plan, as a file: each figure says where it comes from", open=False):
            self._plan = gr.Code(language="yaml", show_label=False, interactive=True, lines=12, max_lines=28)
            with gr.Row():
                save = gr.Button("Use this plan", variant="primary")
                reset = gr.Button("Back to the advised plan")
        self._next = gr.Button("Go on to training", variant="primary")
        self.outputs: list[Any] = [self._options, self._ways, self._chosen, self._plan]
        id = desk.project_id
        desk.then_redraw(self._ways.click(desk.edits(self._choose), [id], None))
        desk.then_redraw(save.click(desk.edits(self._save), [id, self._plan], None))
        desk.then_redraw(reset.click(desk.edits(self._reset), [id], None))
        desk.then_redraw(self._next.click(guarded(self._go_on), [id], None))

    def signature(self, project: Project) -> Hashable:
        stored = self._desk.pipeline.score_of(project)
        return (
            project.data.model_dump_json() if project.data else None,
            project.prompt.id if project.prompt else None,
            project.plan.to_yaml() if project.plan else None,
            project.spec.model_dump_json(),
            str(stored.score) if stored else None,
        )

    def draw(self, project: Project) -> list[Any]:
        pipeline = self._desk.pipeline
        options = "".join(map(_card, pipeline.recommend(project)))
        if not (project.prompt and project.data and pipeline.examples(project)):
            return [options, html.empty("The ways to tune stand here once there is data."), "", ""]
        plan = pipeline.plan(project)
        return [options, _ways(plan), _chosen(plan, own=project.plan is not None), pipeline.plan_text(project)]

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


def _card(option: Option) -> str:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in option.reasons)
    badge = '<span class="tw-badge tw-advised">advised</span>' if option.advised else ""
    kind = "tw-card tw-best" if option.advised else "tw-card"
    return (
        f'<div class="{kind}"><div class="tw-head"><span>{escape(option.title)}</span>{badge}</div>'
        f'<ul>{reasons}</ul><div class="tw-cost">{escape(option.cost)}</div></div>'
    )


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
