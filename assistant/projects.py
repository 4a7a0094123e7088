"""A person's projects as a whole: to open, rename, duplicate, delete and bring back, search; and whose they are.

Owns those acts, and how long a deleted project is kept. Refuses to change what is in a project (that is `workbench`).
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from assistant.copies import copy_to
from assistant.pipeline import Pipeline
from assistant.project import STAGES, DataSource, Project
from assistant.workbench import NEW_PROJECT
from prompts.errors import RunError
from trainers.edits import Edit
from trainers.status import ENDED

DAYS_KEPT = 30
_LONGEST_NAME = 80
_EXCERPT = 70  # characters that a search shows of a text


@dataclass(frozen=True)
class Found:
    """A project that a search found, and the place in it; no place where the name says it all."""

    project: Project
    excerpt: str = ""


class Projects:
    """What a user may do with projects. Raises `RunError` where it is not theirs, as if there were none."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._store = pipeline.store

    def refuse_strangers(self, user: str, id: str) -> None:
        """Raise `RunError` where the project is somebody else's, in the very words of one that does not exist."""
        found = self._store.project(id)
        if found is not None and found.owner != user:
            raise RunError("This project does not exist any more.", hint="Choose another, or start a new one.")

    def require(self, user: str, id: str) -> Project:
        """A user's project, not deleted."""
        self.refuse_strangers(user, id)
        return self._pipeline.project(id)

    def all(self, user: str) -> list[Project]:
        """The one touched last first."""
        return self._store.projects(user)

    def begin(self, user: str, wanted: str = "") -> Project:
        """What a page opens with: the wanted project where the user has it, else the last one, else a new one."""
        found = self._store.project(wanted) if wanted else None
        if found and found.owner == user and not found.deleted:
            return found
        theirs = self._store.projects(user)
        return theirs[0] if theirs else self.create(user)

    def create(self, user: str) -> Project:
        return self._store.create_project(NEW_PROJECT, user)

    def open(self, user: str, id: str) -> Project:
        """Turn to a project: the next page opens with it."""
        project = self.require(user, id)
        self._store.touch(id)
        return project

    def rename(self, user: str, id: str, name: str) -> Project:
        self.require(user, id)
        name = " ".join(name.split())
        if not name:
            raise RunError("A project needs a name.", hint="Write one.")
        if len(name) > _LONGEST_NAME:
            raise RunError(f"This name has {len(name)} characters.", hint=f"Use {_LONGEST_NAME} at most.")
        return self._pipeline.change(id, name=name)

    def duplicate(self, user: str, id: str) -> Project:
        """The same task, data, prompts, plan and chat under a new name; runs and votes stay with the first one."""
        first = self.require(user, id)
        runs = {"run_id": None, "earlier_runs": (), "announced": (), "shown_run": None, "trials_id": None}
        fresh = {**runs, "name": f"{first.name} (copy)"}
        stage = min(first.stage, "Strategy", key=STAGES.index)  # what comes later needs a run
        copy = self._store.duplicate(id, first.model_copy(update={**fresh, "stage": stage}))
        if first.data is None:
            return copy
        folder = self._files(copy.id)
        pending = _copied_edit(first.pending, folder) if first.pending else None
        return self._pipeline.change(copy.id, data=_copied(first.data, folder), pending=pending)

    def delete(self, user: str, id: str) -> Project:
        """Put a project away for `DAYS_KEPT` days. Raises `RunError` while it trains or tries options."""
        project = self.require(user, id)
        if self._pipeline.trials_go_on(project):
            raise RunError("The options of this project are being tried.", hint="Stop the trials first.")
        status = self._pipeline.run_status(project)
        if status and status.state not in ENDED:
            raise RunError("This project is being trained.", hint="Cancel the training first.")
        if measurement := self._pipeline.measurements.get(id):
            measurement.stop()
        return self._pipeline.change(id, deleted=time.time())

    def deleted(self, user: str) -> list[Project]:
        """What can be brought back, the one deleted last first."""
        return self._store.projects(user, deleted=True)

    def restore(self, user: str, id: str) -> Project:
        """Undo a deletion."""
        found = next((project for project in self.deleted(user) if project.id == id), None)
        if found is None:
            raise RunError("This project cannot be brought back any more.", hint="Choose another.")
        self._store.save(found.model_copy(update={"deleted": None}))
        return self._pipeline.project(id)

    def purge(self) -> list[str]:
        """Remove for good what was deleted long ago, with its data files. Runs stay: they are folders of their own."""
        gone = self._store.purge(before=time.time() - DAYS_KEPT * 86_400)
        for id in gone:
            shutil.rmtree(self._files(id), ignore_errors=True)
        return gone

    def search(self, user: str, text: str) -> list[Found]:
        """Projects that hold every word of `text` in name, task or chat; the one touched last first.

        Compared here, not in the database: SQLite knows upper and lower case in English only.
        """
        words = text.casefold().split()
        said: dict[str, list[str]] = defaultdict(list)
        for id, turn in self._store.chats(user) if words else ():
            said[id].append(turn.text)
        found = [_look(project, said[project.id], words) for project in self._store.projects(user)]
        return [hit for hit in found if hit]

    def _files(self, id: str) -> Path:
        return self._pipeline.settings.paths.files / id


def _copied(data: DataSource, folder: Path) -> DataSource:
    """Files of one's own, which outlive the first project."""
    path = folder / data.path.name
    copy_to(data.path, path)
    edits = tuple(_copied_edit(edit, folder) for edit in data.edits)
    return data.model_copy(update={"path": path, "edits": edits})


def _copied_edit(edit: Edit, folder: Path) -> Edit:
    rows = folder / "edits" / edit.rows.name
    copy_to(edit.rows, rows)
    return edit.model_copy(update={"rows": rows})


def _look(project: Project, chat: list[str], words: list[str]) -> Found | None:
    name = project.name.casefold()
    beyond = [word for word in words if word not in name]
    texts = [" ".join(text.split()) for text in (project.spec.description or "", *chat)]
    if not all(any(word in text.casefold() for text in texts) for word in beyond):
        return None
    if not beyond:
        return Found(project)
    return Found(project, next(_excerpt(text, beyond[0]) for text in texts if beyond[0] in text.casefold()))


def _excerpt(text: str, word: str) -> str:
    start = max(0, text.casefold().index(word) - _EXCERPT // 3)
    end = start + _EXCERPT
    return f"{'… ' if start else ''}{text[start:end].strip()}{' …' if end < len(text) else ''}"
