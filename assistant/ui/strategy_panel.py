"""The Strategy panel: the options with reasons and cost, the advised one marked, and the plan as editable YAML."""

from __future__ import annotations

from collections.abc import Hashable
from html import escape
from typing import Any

import gradio as gr
import yaml

from assistant.project import Project
from assistant.recommend import Option
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from prompts.errors import PlanError
from trainers.plan import parse_plan


class StrategyPanel:
    """Advice, and the plan that Start will follow."""

    waits_for = "profile"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._options = gr.HTML()
        with gr.Accordion("The plan, as a file", open=False):
            self._plan = gr.Code(language="yaml", show_label=False, interactive=True, lines=12, max_lines=24)
            with gr.Row():
                save = gr.Button("Use this plan", variant="primary")
                reset = gr.Button("Back to the advised plan")
        self._next = gr.Button("Go on to training", variant="primary")
        self.outputs: list[Any] = [self._options, self._plan]
        desk.then_redraw(save.click(desk.edits(self._save), [desk.project_id, self._plan], None))
        desk.then_redraw(reset.click(desk.edits(self._reset), [desk.project_id], None))
        desk.then_redraw(self._next.click(guarded(self._go_on), [desk.project_id], None))

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
        options = self._desk.pipeline.recommend(project)
        can_train = project.prompt and project.data and self._desk.pipeline.examples(project)
        plan = self._desk.pipeline.plan(project).to_yaml() if can_train else ""
        own = html.notes([("info", "The plan below is your own; training follows it.")]) if project.plan else ""
        return ["".join(map(_card, options)) + own, plan]

    def _save(self, id: str, text: str) -> None:
        try:
            raw = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise PlanError(
                f"That is not valid YAML: {' '.join(str(error).split())}.", hint="Mend that line."
            ) from error
        if not isinstance(raw, dict):
            raise PlanError("That is not a plan: it holds no keys.", hint="Go back to the advised plan.")
        self._desk.pipeline.set_plan(id, parse_plan(raw))
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
