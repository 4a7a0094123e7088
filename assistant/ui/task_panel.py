"""The Task panel: what is known, where it came from, and a form to change it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr

from assistant.dialogue.wording import name_of, understood, value_of
from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded, listed
from prompts.spec import OUTPUT_FORMATS, TASK_KINDS
from trainers.models import catalogue

_BADGES = {"said": "you said", "inferred": "I assume", "default": "default"}
_TUPLES = ("labels", "fields")


class TaskPanel:
    """The task spec as cards, and the same fields as a form."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._facts = gr.HTML()
        with gr.Accordion("Change it", open=False):
            self._form = self._fields()
            save = gr.Button("Save the task", variant="primary")
        self.outputs: list[Any] = [self._facts, *self._form.values()]
        desk.then_redraw(save.click(guarded(self._save), [desk.project_id, *self._form.values()], None))

    def _fields(self) -> dict[str, Any]:
        models = [(f"{entry.name}: {entry.note}", entry.ref) for entry in catalogue()]
        form: dict[str, Any] = {"description": gr.Textbox(label="The task in your words", lines=3)}
        with gr.Row():
            form["task"] = gr.Dropdown(list(TASK_KINDS), label="Kind of task")
            form["output_format"] = gr.Dropdown(list(OUTPUT_FORMATS), label="Shape of an answer")
        with gr.Row():
            form["input"] = gr.Textbox(label="What goes in")
            form["output"] = gr.Textbox(label="What comes out")
        with gr.Row():
            form["labels"] = gr.Textbox(label="Labels", info="separated by commas")
            form["fields"] = gr.Textbox(label="Keys of the JSON answer", info="separated by commas")
        with gr.Row():
            form["language"] = gr.Textbox(label="Language of the answer")
            form["time_budget_minutes"] = gr.Number(label="Time budget for training, minutes", minimum=0)
            form["gpu_memory_gb"] = gr.Number(label="GPU memory, GB", minimum=0)
        with gr.Row():
            form["base_model"] = gr.Dropdown(
                models,
                label="Base model",
                allow_custom_value=True,
                info="or a hub id, a folder, a .gguf file",
                elem_id="base-model",
            )
            form["local_only"] = gr.Checkbox(label="Data must stay on this machine")
        return form

    def signature(self, project: Project) -> Hashable:
        return project.spec.model_dump_json()

    def draw(self, project: Project) -> list[Any]:
        spec = project.spec
        known = spec.known()
        rows = [(name_of(f), value_of(v), _BADGES[spec.origins.get(f, "default")]) for f, v in known.items()]
        shown = html.facts(rows) if rows else html.empty("Nothing is known yet. Describe the task in the chat.")
        values = [", ".join(getattr(spec, f)) if f in _TUPLES else getattr(spec, f) for f in self._form]
        return [shown, *values]

    def _save(self, id: str, *values: Any) -> None:
        before = self._desk.pipeline.project(id).spec
        entered = {f: self._cleaned(f, value) for f, value in zip(self._form, values, strict=True)}
        said = {f: value for f, value in entered.items() if value != getattr(before, f)}
        after = self._desk.pipeline.edit_spec(id, said).spec
        if noted := understood(before, after):
            self._desk.conversation.note(id, "From the Task panel. " + noted)

    def _cleaned(self, field: str, value: Any) -> Any:
        if field in _TUPLES:
            return listed(value)
        if field == "local_only":
            return value or None
        if field in ("time_budget_minutes", "gpu_memory_gb"):
            return value or None
        return (value or None) if field in ("task", "output_format") else (value or "")
