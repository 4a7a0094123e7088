"""The Task panel: what is known, where it came from, and a form to change it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import gradio as gr

from assistant.dialogue.wording import name_of, understood, value_of
from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, listed
from prompts.metrics import metric_for
from prompts.spec import DEVICES, METRICS, OUTPUT_FORMATS, TASK_KINDS, TaskSpec
from trainers.hardware import detect
from trainers.models import EMBEDDED, catalogue

_BADGES = {"said": "you said", "inferred": "I assume", "default": "default"}
_COMMAS = ("labels", "fields")
_LINES = ("must_never", "rules")
_NUMBERS = ("examples", "gpu_memory_gb", "time_budget_minutes", "max_latency_ms", "target_score")
_CHOICES = ("task", "output_format", "device", "metric")
_YES_NO = ("local_only", "has_preferences")


class TaskPanel:
    """The task spec as cards, and the same fields as a form."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._facts = gr.HTML()
        with gr.Accordion("Change it", open=False, elem_id="task-form"):
            self._form = {**self._what(), **self._how(), **self._limits()}
            save = gr.Button("Save the task", variant="primary")
        self.outputs: list[Any] = [self._facts, *self._form.values()]
        desk.then_redraw(save.click(desk.edits(self._save), [desk.project_id, *self._form.values()], None))

    def _what(self) -> dict[str, Any]:
        form: dict[str, Any] = {"description": gr.Textbox(label="The task in your words", lines=3)}
        with gr.Row():
            form["task"] = gr.Dropdown(["", *TASK_KINDS], label="Kind of task")
            form["output_format"] = gr.Dropdown(["", *OUTPUT_FORMATS], label="Shape of an answer")
        with gr.Row():
            form["input"] = gr.Textbox(label="What goes in")
            form["output"] = gr.Textbox(label="What comes out")
        with gr.Row():
            form["labels"] = gr.Textbox(label="Labels", info="separated by commas")
            form["fields"] = gr.Textbox(label="Keys of the JSON answer", info="separated by commas")
        return form

    def _how(self) -> dict[str, Any]:
        form: dict[str, Any] = {}
        with gr.Row():
            form["input_language"] = gr.Textbox(label="Language of what goes in", info="a code such as en, de, fr, es")
            form["language"] = gr.Textbox(label="Language of the answer", info="a code such as en, de, fr, es")
            form["tone"] = gr.Textbox(label="Tone", info="for example: friendly, short")
        with gr.Row():
            form["must_never"] = gr.Textbox(label="Must never", lines=2, info="one a line")
            form["rules"] = gr.Textbox(label="Other rules", lines=2, info="one a line")
        with gr.Row():
            form["metric"] = gr.Dropdown(["", *METRICS], label="Score", info="what counts as good")
            form["target_score"] = gr.Number(label="Good enough from", info="0 to 1", minimum=0, maximum=1, step=0.01)
        return form

    def _limits(self) -> dict[str, Any]:
        models = [(f"{entry.name}: {entry.note}", entry.ref) for entry in catalogue()]
        form: dict[str, Any] = {}
        with gr.Row():
            form["examples"] = gr.Number(label="Examples there are", minimum=0, precision=0)
            form["has_preferences"] = gr.Dropdown(["", "yes", "no"], label="Judgements which answer is better")
            form["local_only"] = gr.Dropdown(["", "yes", "no"], label="Data must stay on this machine")
        with gr.Row():
            form["device"] = gr.Dropdown(["", *DEVICES], label="Computes on")
            form["gpu_memory_gb"] = gr.Number(label="GPU memory, GB", minimum=0)
            form["time_budget_minutes"] = gr.Number(label="Time budget for training, minutes", minimum=0)
            form["max_latency_ms"] = gr.Number(label="Longest wait for an answer, ms", minimum=0, precision=0)
        with gr.Row():
            form["base_model"] = gr.Dropdown(
                models, label="Base model", allow_custom_value=True, elem_id="base-model",
                info="or a hub id, a folder, a .gguf file",
            )  # fmt: skip
            form["licence"] = gr.Textbox(label="Licence must allow", info="for example: commercial use")
        return form

    def signature(self, project: Project) -> Hashable:
        return project.spec.model_dump_json()

    def draw(self, project: Project) -> list[Any]:
        spec = project.spec
        rows = [(name_of(f), value_of(v, f), _BADGES[spec.origins.get(f, "default")]) for f, v in spec.known().items()]
        rows += [(name_of(field), value, "default") for field, value in _defaults(spec).items()] if rows else []
        shown = html.facts(rows) if rows else html.empty("Nothing is known yet. Describe the task in the chat.")
        return [shown, *(_as_text(field, getattr(spec, field)) for field in self._form)]

    def _save(self, id: str, *values: Any) -> None:
        pipeline = self._desk.pipeline
        before = pipeline.project(id).spec
        entered = {f: _cleaned(f, value) for f, value in zip(self._form, values, strict=True)}
        said = {f: value for f, value in entered.items() if value != getattr(before, f)}
        after = pipeline.edit_spec(id, said).spec
        if noted := understood(before, after):
            self._desk.conversation.note(id, "From the Task panel. " + noted)


def _defaults(spec: TaskSpec) -> dict[str, str]:
    """What holds where nobody said otherwise."""
    held = {
        "base_model": f"{EMBEDDED} ({next(e.name for e in catalogue() if e.ref == EMBEDDED)})",
        "device": str(detect()),
        "metric": metric_for(spec.output_format, spec.metric),
    }
    return {field: value for field, value in held.items() if not getattr(spec, field)}


def _as_text(field: str, value: Any) -> Any:
    """A fact as its form field shows it."""
    if field in _YES_NO:
        return {True: "yes", False: "no"}.get(value, "")
    if field in _CHOICES:
        return value or ""
    joined: dict[str, Callable[[tuple[str, ...]], str]] = dict.fromkeys(_COMMAS, ", ".join)
    joined |= dict.fromkeys(_LINES, "\n".join)
    return joined[field](value) if field in joined else value


def _cleaned(field: str, value: Any) -> Any:
    """A form field's value as the spec keeps it; empty is None, an empty text or no items."""
    if field in _COMMAS:
        return listed(value)
    if field in _LINES:
        return tuple(line.strip() for line in (value or "").splitlines() if line.strip())
    if field in _YES_NO:
        return {"yes": True, "no": False}.get(value)
    if field == "examples":
        return value
    return (value or None) if field in (*_NUMBERS, *_CHOICES) else (value or "")
