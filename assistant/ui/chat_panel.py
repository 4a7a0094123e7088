"""The chat at the left: messages, buttons for likely answers, and a box that takes text and files."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import gradio as gr

from assistant.project import Project, Turn
from assistant.ui.panel import Desk
from trainers.reading import SUFFIXES

_EMPTY_BOX = {"text": "", "files": []}


class ChatPanel:
    """The conversation of the project on the screen."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._chat = gr.Chatbot(
            show_label=False, height="calc(100vh - 270px)", min_height=320, buttons=["copy"], elem_id="chat",
            feedback_options=None, group_consecutive_messages=False,
        )  # fmt: skip
        self._box = gr.MultimodalTextbox(
            placeholder="Describe the task, or drop a table", show_label=False, elem_id="chat-box",
            file_types=list(SUFFIXES), autofocus=True, max_plain_text_length=100_000,
        )  # fmt: skip
        self.outputs: list[Any] = [self._chat]
        self._waiting = gr.State({})
        heard = self._box.submit(
            self._hear, [desk.project_id, self._box], [self._chat, self._box, self._waiting], show_progress="hidden"
        )
        desk.then_redraw(heard.then(self._answer, [desk.project_id, self._waiting], None, show_progress="hidden"))
        chosen = self._chat.option_select(
            self._choose, [desk.project_id], [self._chat, self._waiting], show_progress="hidden"
        )
        desk.then_redraw(chosen.then(self._answer, [desk.project_id, self._waiting], None, show_progress="hidden"))

    def signature(self, project: Project) -> Hashable:
        return (project.id, len(self._desk.pipeline.store.turns(project.id)))

    def draw(self, project: Project) -> list[Any]:
        return [self._messages(project.id)]

    def _messages(self, id: str, *, thinking: bool = False) -> list[dict[str, Any]]:
        turns = self._desk.conversation.turns(id)
        shown = [_as_message(turn, last=turn is turns[-1]) for turn in turns]
        return [*shown, {"role": "assistant", "content": "…"}] if thinking else shown

    def _hear(self, id: str, box: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        text, files = (box.get("text") or "").strip(), box.get("files") or []
        if not text and not files:
            return gr.skip(), _EMPTY_BOX, {}
        self._desk.conversation.hear(id, text, [Path(file).name for file in files])
        return self._messages(id, thinking=True), _EMPTY_BOX, {"text": text, "files": files}

    def _choose(self, id: str, choice: gr.SelectData) -> tuple[Any, dict[str, Any]]:
        text = str(choice.value)
        self._desk.conversation.hear(id, text)
        return self._messages(id, thinking=True), {"text": text, "files": []}

    def _answer(self, id: str, waiting: dict[str, Any]) -> None:
        if waiting:
            self._desk.conversation.answer(id, waiting["text"], [Path(file) for file in waiting["files"]])


def _as_message(turn: Turn, *, last: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.text}
    if last and turn.options:  # old buttons would answer a question that is no longer asked
        message["options"] = [{"label": option, "value": option} for option in turn.options]
    return message
