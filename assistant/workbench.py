"""What a project is made of: its task, its base model and its prompt versions, and every change to them.

Owns the changes, what follows from them (a first prompt follows the task), and taking them back. Refuses to know data
(that is `databench`) and to run anything: measuring, training and serving are the pipeline's.
"""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from assistant.project import Project, Snapshot, Stage, StoredPrompt
from assistant.settings import Settings
from assistant.store import Store
from prompts.errors import PromptError, RunError
from prompts.spec import TaskSpec
from prompts.templates import starting_prompt
from prompts.versions import PromptVersion
from trainers.models import EMBEDDED, LocalModel, resolve

NEW_PROJECT = "New project"
_STEPS_BACK = 20


class Workbench:
    """What a project is made of, and every change to it. Safe to call from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.database)
        self._lock = threading.RLock()
        self._bases: dict[str, LocalModel] = {}

    # Projects

    def project(self, id: str) -> Project:
        """A project by id. Raises `RunError` where there is none."""
        found = self.store.project(id)
        if found is None or found.deleted:
            raise RunError("This project does not exist any more.", hint="Choose another, or start a new one.")
        return found

    def change(self, id: str, **values: Any) -> Project:
        """Set fields of a project and keep it."""
        with self._lock:
            changed = self.project(id).model_copy(update=values)
            self.store.save(changed)
            return changed

    def go_to(self, id: str, stage: Stage) -> Project:
        """Bring the person to a panel."""
        with self._lock:
            return self.change(id, stage=stage, stage_visits=self.project(id).stage_visits + 1)

    @contextmanager
    def undoable(self, id: str) -> Iterator[None]:
        """Whatever is changed inside can be taken back by `go_back`, in one step."""
        first = self.project(id)
        before = first.snapshot()
        try:
            yield
        finally:
            with self._lock:
                project = self.project(id)
                # Where `past` is another one by now, somebody went back inside, or the step is kept already.
                if project.snapshot() != before and project.past == first.past:
                    self.change(id, past=(*project.past, before)[-_STEPS_BACK:])

    def go_back(self, id: str) -> Project | None:
        """The project as it was before the last change, or None where nothing was changed."""
        with self._lock:
            past = self.project(id).past
            if not past:
                return None
            earlier = {name: getattr(past[-1], name) for name in Snapshot.model_fields}
            return self.change(id, **earlier, past=past[:-1], skipped=(), asked=None)

    def start_over(self, id: str) -> Project:
        """An empty task in the same project. Runs, votes and the chat stay; `go_back` brings the rest back."""
        with self.undoable(id):
            empty = Snapshot(name=NEW_PROJECT, spec=TaskSpec(), data=None, typed=(), prompt=None, plan=None)
            return self.change(
                id, **{name: getattr(empty, name) for name in Snapshot.model_fields}, skipped=(), asked=None, warned=()
            )

    def _files_of(self, id: str) -> Path:
        return self.settings.paths.files / id

    # Task

    def edit_spec(
        self, id: str, said: dict[str, Any], inferred: dict[str, Any] | None = None, *, fetch_model: bool = True
    ) -> Project:
        """Set facts of the task. A prompt that is still the first one follows them.

        Raises `DataError` for an impossible value and, where it is to be fetched now, `ModelError` for a base model
        that cannot be found.
        """
        if fetch_model and said.get("base_model"):
            self._resolved(said["base_model"])
        with self._lock:
            project = self.project(id)
            spec = project.spec.updated("inferred", **(inferred or {})).updated("said", **said)
            name = project.name
            if name == NEW_PROJECT and spec.description:
                name = textwrap.shorten(spec.description, 40, placeholder=" …")
            return self.change(id, spec=spec, prompt=self._following(project, spec), name=name)

    def _following(self, project: Project, spec: TaskSpec) -> PromptVersion | None:
        """The starting prompt for the changed spec, unless the person has a prompt of their own by now."""
        current = project.prompt
        if current is not None and current != starting_prompt(project.spec):
            return current
        if spec.task is None:
            return None
        first = starting_prompt(spec)
        self.store.add_prompt(project.id, first)
        return first

    def base(self, project: Project) -> LocalModel:
        """The base model, brought to this machine. Slow the first time. Raises `ModelError`."""
        return self._resolved(self.base_ref(project))

    def base_ref(self, project: Project) -> str:
        """What the person calls the base model: a hub id, a path, or the embedded one."""
        return (project.plan.base_model if project.plan else project.spec.base_model) or EMBEDDED

    def _resolved(self, ref: str) -> LocalModel:
        if ref not in self._bases:
            self._bases[ref] = resolve(ref, self.settings.paths)
        return self._bases[ref]

    # Prompt

    def save_prompt(
        self, id: str, *, reason: str, author: Literal["you", "tunewright"] = "you", **fields: Any
    ) -> Project:
        """Make a new version the current one: some of `system`, `template`, `demonstrations` and `allowed` changed.

        Raises `PromptError` where the template is not usable.
        """
        before = self.project(id).prompt or PromptVersion()
        return self.take_prompt(id, before.revised(reason=reason, author=author, **fields))

    def take_prompt(self, id: str, version: PromptVersion) -> Project:
        """Keep a version, and make it the current one."""
        project = self.project(id)
        if project.prompt and version.id == project.prompt.id:
            return project
        self.store.add_prompt(id, version)
        return self.change(id, prompt=version, proposal=None)

    def propose(self, id: str, version: PromptVersion) -> Project:
        """Lay a version before the person, as a child of the current one, however it was come by.

        Raises `PromptError` where the two are the same.
        """
        current = self.project(id).prompt
        if current and version.id == current.id:
            raise PromptError("This would leave the prompt as it is.", hint="Say what to change.")
        parent = current.id if current else version.parent
        return self.change(id, proposal=version.model_copy(update={"parent": parent}))

    def accept(self, id: str, **edits: Any) -> Project:
        """Make the proposal the current version, with what the person changed of it. Raises `PromptError`."""
        proposal = self.project(id).proposal
        if proposal is None:
            raise PromptError("Nothing is proposed.", hint="Ask for a change, or let Tunewright improve the prompt.")
        changed = {name: value for name, value in edits.items() if value != getattr(proposal, name)}
        if not changed:
            return self.take_prompt(id, proposal)
        self.store.add_prompt(id, proposal)  # the parent of what the person made of it
        return self.take_prompt(id, proposal.revised(reason=f"{proposal.reason}, edited", **changed))

    def dismiss(self, id: str) -> Project:
        """Drop the proposal; the prompt stays as it is."""
        return self.change(id, proposal=None)

    def restore_prompt(self, id: str, version_id: str) -> Project:
        """Make an earlier version the current one. Raises `PromptError`."""
        return self.change(id, prompt=self.version(id, version_id), proposal=None)

    def version(self, id: str, version_id: str) -> PromptVersion:
        """A version of a project by its id. Raises `PromptError`."""
        found = next((s.version for s in self.store.prompts(id) if s.version.id == version_id), None)
        if found is None:
            raise PromptError(f"There is no prompt version {version_id}.", hint="Look at the list of versions.")
        return found

    def prompts(self, id: str) -> list[StoredPrompt]:
        return self.store.prompts(id)
