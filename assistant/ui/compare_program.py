"""From a program: the address of what is served, and lines for curl and Python that ask each who is compared.

Owns where they are shown. Refuses to write them (`serving.gateway`).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr

from assistant.comparebench import MOST_ARMS
from assistant.project import Project
from assistant.ui import html
from assistant.ui.compare_arms import NOBODY, who
from assistant.ui.panel import Desk, guarded

_WHAT = (
    "The same answers for a program: an OpenAI-compatible address that serves as long as this app runs and the engines "
    "are started. Each line below sends the very prompt that the model is compared with."
)


class ProgramPanel:
    """The lines of up to four contenders. They hold the app's own address, which only an event of the page knows."""

    waits_for = "splits"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._stamp = gr.State("")
        self._head = gr.HTML(elem_id="program-head")
        self._parts: list[Any] = []
        for number in range(MOST_ARMS):
            with gr.Column(visible=False, elem_id=f"program-{number}", elem_classes="tw-program") as column:
                title = gr.HTML()
                curl = gr.Code(
                    language="shell", label="curl", lines=1, interactive=False, wrap_lines=True, buttons=["copy"],
                    show_line_numbers=False,
                )  # fmt: skip
                python = gr.Code(
                    language="python", label="Python", lines=1, interactive=False, wrap_lines=True, buttons=["copy"],
                    show_line_numbers=False,
                )  # fmt: skip
            self._parts += [column, title, curl, python]
        self.outputs: list[Any] = [self._stamp]
        how: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 8}
        self._stamp.change(guarded(self._write), [desk.project_id], [self._head, *self._parts], **how)

    def signature(self, project: Project) -> Hashable:
        return (who(self._desk.pipeline, project), tuple(self._desk.pipeline.engines.served))

    def draw(self, project: Project) -> list[Any]:
        return [repr(self.signature(project))]

    def _write(self, id: str, request: gr.Request) -> list[Any]:
        pipeline = self._desk.pipeline
        project = pipeline.project(id)
        hidden = [gr.update(visible=False), "", "", ""]
        if project.data is None:
            return [html.empty(NOBODY), *hidden * MOST_ARMS]
        if pipeline.settings.users_file:  # who has to log in must not be passed by
            told = (
                "Where people log in, the app has no address for programs. On the command line: tunewright serve RUN."
            )
            return [html.empty(told), *hidden * MOST_ARMS]
        address = f"{str(request.request.base_url).rstrip('/')}/v1"
        lines, served = pipeline.usage(project, address), pipeline.engines.served
        parts: list[Any] = []
        for title, curl, python in lines:
            parts += [gr.update(visible=True), html.heading(title), curl, python]
        return [_head(address, bool(served)), *parts, *hidden * (MOST_ARMS - len(lines))]


def _head(address: str, serving: bool) -> str:
    state = (
        ("good", f"Serving at {address}")
        if serving
        else ("info", f"Nothing is served at {address} yet: start it above.")
    )
    return html.notes([("info", _WHAT), state])
