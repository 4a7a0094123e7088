"""The bar at the top: which project is on the screen, and a menu to search, rename, duplicate, delete and bring back.

Owns how these look. Refuses to know how long a deleted project is kept and whose a project is (that is `projects`).
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from html import escape
from typing import Any

import gradio as gr

from assistant.project import Project
from assistant.projects import DAYS_KEPT
from assistant.ui.border import user_of
from assistant.ui.panel import Desk, guarded

_TOGGLE = "() => document.querySelector('#tw-menu').toggleAttribute('data-open')"
_CLOSE = "() => document.querySelector('#tw-menu').removeAttribute('data-open')"
# The address names the project, so that each tab comes back to its own when it is loaded again.
_ADDRESS = """id => {
    const url = new URL(window.location);
    url.searchParams.set('project', id);
    window.history.replaceState(window.history.state, '', url);
}"""
_READY = """() => {
    document.querySelector('#tw-more').setAttribute('aria-label', 'Manage projects');
    const close = () => document.querySelector('#tw-menu').removeAttribute('data-open');
    document.addEventListener('pointerdown', at => at.target.closest('#tw-menu, #tw-more') || close());
    document.addEventListener('keydown', key => key.key === 'Escape' && close());
}"""


class ProjectBar:
    """Brand, chooser, menu, and a line to undo the last deletion."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with gr.Row(elem_id="tw-header"):
            gr.HTML('<div id="tw-brand">Tunewright</div>')
            self._list = gr.Dropdown([], show_label=False, container=False, elem_id="project", scale=2)
            self._new = gr.Button("+ New", size="sm", scale=0, min_width=90)
            self._more = gr.Button("⋯", size="sm", scale=0, min_width=48, elem_id="tw-more")
        with gr.Column(elem_id="tw-menu"):
            self._build_menu()
        with gr.Row(elem_id="tw-undo", visible=False) as self._undo_line:
            self._told = gr.HTML()
            self._undo = gr.Button("Undo", size="sm", scale=0, min_width=80, variant="primary")
            self._dismiss = gr.Button("✕", size="sm", scale=0, min_width=40)
        self._gone = gr.State("")  # the project that Undo brings back
        self.outputs: list[Any] = [self._list, self._name, self._trash, self._deleted, self._who]
        self._connect_choosing()
        self._connect_changing()

    def _build_menu(self) -> None:
        self._text = gr.Textbox(
            label="Search", placeholder="a word of a name, a task or a chat", elem_id="project-search"
        )
        self._found = gr.Radio([], visible=False, interactive=True, elem_id="project-found")
        with gr.Row(elem_classes="tw-bottom"):
            self._name = gr.Textbox(label="Name of this project", elem_id="project-name", max_length=80, min_width=180)
            self._rename = gr.Button("Rename", size="sm", scale=0, min_width=90)
        with gr.Row():
            self._copy = gr.Button("Duplicate", size="sm")
            self._delete = gr.Button("Delete", size="sm", elem_id="tw-delete")
        with gr.Row(visible=False, elem_classes="tw-bottom") as self._trash:
            self._deleted = gr.Dropdown([], label=f"Deleted, kept for {DAYS_KEPT} days", min_width=180)
            self._restore = gr.Button("Bring back", size="sm", scale=0, min_width=90)
        self._who = gr.HTML(visible=False)

    def _connect_choosing(self) -> None:
        desk, shown = self._desk, self._desk.project_id
        self._more.click(None, None, None, js=_TOGGLE)
        desk.on_open(_READY)
        self._list.change(None, self._list, None, js=_ADDRESS)
        desk.then_redraw(self._list.input(guarded(self._open), self._list, shown))
        desk.then_redraw(self._new.click(guarded(self._create), None, shown))
        self._text.change(  # `input` misses the first text that is pasted
            guarded(self._search), self._text, self._found, trigger_mode="always_last", show_progress="hidden"
        )
        self._and_close(self._found.input(guarded(self._open), self._found, shown))

    def _connect_changing(self) -> None:
        shown, undo = self._desk.project_id, [self._undo_line, self._told, self._gone]
        for event in (self._rename.click, self._name.submit):
            self._and_close(event(guarded(self._renamed), [shown, self._name], None))
        self._and_close(self._copy.click(guarded(self._duplicate), shown, shown))
        self._and_close(self._delete.click(guarded(self._put_away), shown, [shown, *undo]))
        self._and_close(self._undo.click(guarded(self._bring_back), self._gone, [shown, *undo]))
        self._and_close(self._restore.click(guarded(self._bring_back), self._deleted, [shown, *undo]))
        self._dismiss.click(lambda: gr.update(visible=False), None, self._undo_line)

    def _and_close(self, event: Any) -> None:
        event.success(None, None, None, js=_CLOSE)
        event.success(lambda: "", None, self._text, show_progress="hidden")
        self._desk.then_redraw(event)

    # What the events do

    def _open(self, id: str, request: gr.Request) -> str:
        return self._desk.projects.open(user_of(request), id).id

    def _create(self, request: gr.Request) -> str:
        return self._desk.projects.create(user_of(request)).id

    def _search(self, text: str, request: gr.Request) -> Any:
        if not text.strip():
            return gr.update(choices=[], value=None, visible=False)
        found = self._desk.projects.search(user_of(request), text)
        choices = [(f"{hit.project.name}\n{hit.excerpt}".strip(), hit.project.id) for hit in found]
        label = f"{len(found)} found" if found else "Nothing found"
        return gr.update(choices=choices, value=None, label=label, visible=True)

    def _renamed(self, id: str, name: str, request: gr.Request) -> None:
        self._desk.projects.rename(user_of(request), id, name)

    def _duplicate(self, id: str, request: gr.Request) -> str:
        return self._desk.projects.duplicate(user_of(request), id).id

    def _put_away(self, id: str, request: gr.Request) -> list[Any]:
        user = user_of(request)
        gone = self._desk.projects.delete(user, id)
        until = _last_day(gone, "%d %B %Y")
        told = f"<div><b>{escape(gone.name)}</b> is deleted, and kept until {until}.</div>"
        return [self._desk.projects.begin(user).id, gr.update(visible=True), told, gone.id]

    def _bring_back(self, id: str, request: gr.Request) -> list[Any]:
        return [self._desk.projects.restore(user_of(request), id).id, gr.update(visible=False), "", ""]

    # What is drawn

    def signature(self, project: Project) -> Hashable:
        known = self._desk.projects.all(project.owner)
        return (
            frozenset((p.id, p.name) for p in known),
            tuple(p.id for p in self._desk.projects.deleted(project.owner)),
        )

    def draw(self, project: Project) -> list[Any]:
        known = sorted(self._desk.projects.all(project.owner), key=lambda p: -p.created)
        deleted = self._desk.projects.deleted(project.owner)
        back = [(f"{p.name}, until {_last_day(p, '%d %b')}", p.id) for p in deleted]
        return [
            gr.update(choices=[(p.name, p.id) for p in known], value=project.id),
            project.name,
            gr.update(visible=bool(back)),
            gr.update(choices=back, value=back[0][1] if back else None),
            self._signed_in(project.owner),
        ]

    def _signed_in(self, user: str) -> Any:
        told = f'<div id="tw-user">Signed in as <b>{escape(user)}</b> · <a href="logout">Log out</a></div>'
        return gr.update(value=told, visible=self._desk.pipeline.settings.users_file is not None)


def _last_day(gone: Project, form: str) -> str:
    moment = time.localtime((gone.deleted or 0) + DAYS_KEPT * 86_400)
    return time.strftime(form, moment).lstrip("0")
