"""The Prompt panel: write a version, read what is remarked, and decide on what is proposed.

Owns the editor, the remarks under it and the proposal above it. Versions, scores and comparison are in the versions
panel, the search is in the improve panel. The editor is drawn by itself: what it shows waits for no profile of the
data, so that nothing comes late over what somebody has begun to type. Remarks are on what stands in the editor, on
whatever occasion they are drawn.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr

from assistant.project import Project
from assistant.ui import html, prompt_cards
from assistant.ui.answers_panel import AnswersPanel
from assistant.ui.findings import LISTEN
from assistant.ui.improve_panel import ImprovePanel
from assistant.ui.panel import Desk, guarded
from assistant.ui.versions_panel import VersionsPanel
from prompts.diff import side_by_side, summary
from prompts.errors import TunewrightError
from prompts.versions import PromptVersion


class Editor:
    """The prompt's own texts."""

    def __init__(self) -> None:
        self.system = gr.Textbox(label="System prompt", lines=5, elem_id="system-prompt")
        self.template = gr.Textbox(
            label="The person's turn", info="Jinja; {{ input }} is the row's input", elem_id="prompt-template"
        )
        self.outputs: list[Any] = [self.system, self.template]

    def signature(self, project: Project) -> Hashable:
        return project.prompt.id if project.prompt else None

    def draw(self, project: Project) -> list[Any]:
        prompt = project.prompt or PromptVersion()
        return [prompt.system, prompt.template]


class PromptPanel:
    """Write, read the remarks, and accept or dismiss what is proposed."""

    waits_for = "splits"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._stamp = gr.State("")
        with gr.Group(visible=False, elem_classes="tw-proposal") as self._proposal:
            self._diff = gr.HTML(elem_id="proposal-diff")
            with gr.Accordion("Edit it before you accept", open=False):
                self._new_system = gr.Textbox(label="System prompt", lines=4, elem_id="proposal-system")
                self._new_template = gr.Textbox(label="The person's turn")
            with gr.Row():
                accept = gr.Button("Accept", variant="primary", elem_id="proposal-accept")
                both = gr.Button("Measure both", elem_id="proposal-measure")
                dismiss = gr.Button("Keep mine", elem_id="proposal-dismiss")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=300):
                self.editor = Editor()
                self._held = gr.Checkbox(label="Hold every answer to what is allowed", elem_id="prompt-held")
                with gr.Row():
                    save = gr.Button("Save version", variant="primary", min_width=120)
                    few = gr.Button("Add 4 examples", min_width=120)
                    self._clear = gr.Button("Remove examples", min_width=120)
                self._remarks = gr.HTML(elem_id="prompt-remarks", js_on_load=LISTEN)
            with gr.Column(scale=6, min_width=360):
                self.versions = VersionsPanel(desk)
        self.improving = ImprovePanel(desk)
        self.comparing = self.versions.comparison()
        self.answers = AnswersPanel(desk)
        with gr.Accordion("Solved examples that are shown before the input", open=False) as self._shown:
            self._demonstrations = gr.HTML()
        with gr.Accordion("Three rows, exactly as the model will see them", open=False):
            self._seen = gr.HTML()
        self.outputs: list[Any] = [
            self._proposal, self._diff, self._new_system, self._new_template, self._held, self._clear, self._stamp,
            self._shown, self._demonstrations, self._seen
        ]  # fmt: skip
        id, written = desk.project_id, [*self.editor.outputs, self._held]
        desk.then_redraw(save.click(desk.edits(self._save), [id, *written], None))
        desk.then_redraw(few.click(desk.edits(self._add_examples), [id], None))
        desk.then_redraw(self._clear.click(desk.edits(self._remove_examples), [id], None))
        # What is typed is read as soon as the field is left, saved or not; and again when the project has changed.
        for event in (*(field.blur for field in self.editor.outputs), self._held.input, self._stamp.change):
            event(guarded(self._read), [id, *written], self._remarks, show_progress="hidden")
        desk.then_redraw(self._remarks.click(desk.edits(self._suggest), [id, *written], None))
        edited = [id, self._new_system, self._new_template]
        desk.then_redraw(accept.click(desk.edits(self._accept), edited, None))
        desk.then_redraw(dismiss.click(desk.edits(desk.pipeline.dismiss), [id], None))
        desk.then_redraw(both.click(guarded(self._measure_both), [id], None))
        self.versions.measures(desk.edits(self._save), written)

    def signature(self, project: Project) -> Hashable:
        return (
            project.prompt,
            project.proposal,
            project.spec.model_dump_json(),
            project.data.model_dump_json() if project.data else None,
        )

    def draw(self, project: Project) -> list[Any]:
        prompt, pipeline = project.prompt, self._desk.pipeline
        stamp = repr((project.id, self.signature(project)))
        if prompt is None:
            hidden = gr.update(visible=False)
            return [hidden, "", "", "", hidden, hidden, stamp, hidden, "", ""]
        allowed = prompt.allowed or pipeline.can_hold_to(project)
        held = gr.update(
            visible=allowed is not None,
            value=prompt.allowed is not None,
            label=f"Hold every answer to {allowed.told}" if allowed else "",
        )
        shown = len(prompt.demonstrations)
        return [
            *self._proposed(project),
            held,
            gr.update(visible=bool(shown)),
            stamp,
            gr.update(visible=bool(shown), label=f"{shown} solved examples are shown before the input"),
            prompt_cards.demonstrations(prompt),
            html.rows_as_seen(pipeline.rendered_rows(project, 3)) if project.data else "",
        ]

    def _proposed(self, project: Project) -> list[Any]:
        """The proposal beside the current version, where there is one."""
        proposal, current = project.proposal, project.prompt or PromptVersion()
        if proposal is None:
            return [gr.update(visible=False), "", "", ""]
        words = prompt_cards.proposal(proposal, summary(current, proposal))
        beside = prompt_cards.diff(side_by_side(current, proposal), f"yours, {current.id}", f"proposed, {proposal.id}")
        return [gr.update(visible=True), words + beside, proposal.system, proposal.template]

    # Writing

    def _draft(self, project: Project, system: str, template: str, held: bool) -> PromptVersion:
        """What stands in the editor, as a version that is not kept yet. Raises `PromptError`."""
        current = project.prompt or PromptVersion()
        allowed = (current.allowed or self._desk.pipeline.can_hold_to(project)) if held else None
        return current.revised(reason="edited in the panel", system=system, template=template, allowed=allowed)

    def _save(self, id: str, system: str, template: str, held: bool) -> None:
        pipeline = self._desk.pipeline
        project = pipeline.project(id)
        draft = self._draft(project, system, template, held)
        if project.prompt is None or draft.id != project.prompt.id:
            pipeline.take_prompt(id, draft)
            told = f"From the Prompt panel: the prompt is now version `{draft.id}`."
            self._desk.conversation.note(id, told, ("Measure the prompt",))

    def _add_examples(self, id: str) -> None:
        self._desk.pipeline.add_demonstrations(id)

    def _remove_examples(self, id: str) -> None:
        self._desk.pipeline.save_prompt(id, demonstrations=(), reason="without examples")

    # Reading

    def _read(self, id: str, system: str, template: str, held: bool) -> str:
        """Remarks on what stands in the editor."""
        project = self._desk.pipeline.project(id)
        if project.prompt is None and not system.strip():
            return html.empty("The first prompt comes once the task is known. You can also write one here.")
        try:
            draft = self._draft(project, system, template, held)
        except TunewrightError as error:
            return html.notes([("error", str(error))])
        return prompt_cards.remarks(self._desk.pipeline.remarks(project, draft), draft)

    def _suggest(self, id: str, system: str, template: str, held: bool, event: gr.EventData) -> None:
        """Propose what a remark suggests for what stands in the editor, which is kept first."""
        self._save(id, system, template, held)
        self._desk.pipeline.suggest(id, int(event._data["key"]))

    # Deciding

    def _accept(self, id: str, system: str, template: str) -> None:
        project = self._desk.pipeline.accept(id, system=system, template=template)
        assert project.prompt is not None
        told = f"From the Prompt panel: you accepted version `{project.prompt.id}`."
        self._desk.conversation.note(id, told, ("Measure the prompt",))

    def _measure_both(self, id: str) -> None:
        self._desk.pipeline.measure_both(id)
