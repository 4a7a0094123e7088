"""What a project is made of: its task, its data, its prompt versions, and every change to them.

Owns the changes and what follows from them (a first prompt follows the task, facts follow from data). Refuses to run
anything: measuring, training and serving are the pipeline's.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assistant.project import DataSource, Project, Snapshot, Stage, StoredPrompt
from assistant.samples import SAMPLE_FACTS, SAMPLE_NAME, sample_file
from assistant.settings import Settings
from assistant.store import Store
from prompts.chat_model import Message
from prompts.demonstrations import choose
from prompts.errors import DataError, PromptError, RunError
from prompts.spec import TaskSpec, infer_format
from prompts.templates import starting_prompt
from prompts.versions import Demonstration, PromptVersion
from trainers.checks import Checked, check_data
from trainers.data import (
    Example,
    Mapping,
    Shares,
    Splits,
    guess_mapping,
    labels_of,
    read_examples,
    split,
)
from trainers.models import EMBEDDED, LocalModel, resolve
from trainers.profile import DatasetProfile, profile_data
from trainers.reading import Table, read_table
from trainers.tokens import token_counter

NEW_PROJECT = "New project"
_TYPED = " + rows from the chat"
_STEPS_BACK = 20


class Workbench:
    """What a project is made of, and every change to it. Safe to call from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.database)
        self._lock = threading.RLock()
        self._bases: dict[str, LocalModel] = {}
        self._profiles: dict[tuple[Any, ...], DatasetProfile] = {}
        self._checked: dict[DataSource, Checked] = {}
        self._checking = threading.Lock()

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

    def start_sample(self, id: str) -> Project:
        """Fill a project with the sample task and its data. Raises `DataError` where it has data of its own."""
        project = self.project(id)
        if project.data is not None and project.name != SAMPLE_NAME:
            raise DataError("This project has data of its own.", hint="Choose + New first, then the sample.")
        # What was said of another task is not true of this one; only the model is the person's choice for both.
        fresh = TaskSpec().updated("said", **({"base_model": b} if (b := project.spec.base_model) else {}))
        self.change(id, name=SAMPLE_NAME, spec=fresh, prompt=None, typed=())
        self.edit_spec(id, SAMPLE_FACTS)
        with sample_file() as path:
            return self.add_file(id, path)

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

    # Data

    def add_file(self, id: str, path: Path, name: str = "", columns: Mapping | None = None) -> Project:
        """Take a copy of a file as the project's data, and infer. Rows typed before come along.

        Raises `DataError`; then nothing changes.
        """
        typed = self.project(id).typed
        project = self._take(id, path, name or path.name, columns)
        return self.add_rows(id, typed) if typed else project

    def _take(self, id: str, path: Path, name: str, columns: Mapping | None) -> Project:
        table = read_table(path)
        columns = columns or guess_mapping(table)
        examples = read_examples(table, columns)
        copy = _own_copy(path, self._files_of(id), Path(name).stem)
        self.change(id, data=DataSource(path=copy, name=name, columns=columns), plan=None, typed=())
        return self._learn_from(id, examples)

    def add_rows(self, id: str, rows: Sequence[Demonstration], enough: int = 1) -> Project:
        """Rows from the chat: added to the data where there is some, else kept until there are `enough` of them.

        A file that was given is never changed: the data becomes a new one.
        """
        project = self.project(id)
        if project.data is None and len(project.typed) + len(rows) < enough:
            return self.change(id, typed=(*project.typed, *rows))
        columns, before = _rows_so_far(project.data)
        fresh = ({columns.input: row.input, columns.output: row.output} for row in (*project.typed, *rows))
        first = project.data.name.removesuffix(_TYPED) if project.data else ""
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{Path(first or 'typed').stem}.jsonl"
            with path.open("w", encoding="utf-8") as out:
                out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in chain(before, fresh))
            return self._take(id, path, f"{first}{_TYPED}" if first else "rows from the chat", columns)

    def set_columns(self, id: str, columns: Mapping) -> Project:
        """Correct which columns count. Raises `DataError`; then nothing changes."""
        data = self._data(self.project(id))
        if columns.input == columns.output and columns.shape is None:
            raise DataError(f"{columns.input!r} cannot be both.", hint="Choose one column that goes in, one to answer.")
        examples = read_examples(read_table(data.path), columns)
        self.change(id, data=data.model_copy(update={"columns": columns}), plan=None)
        return self._learn_from(id, examples)

    def _learn_from(self, id: str, examples: list[Example]) -> Project:
        labels = labels_of(examples)
        facts: dict[str, Any] = {"examples": len(examples), "labels": labels}
        task = self.project(id).spec.task or ("classification" if labels else "generation")
        as_json = all(example.output.startswith("{") for example in examples)
        facts |= {"task": task, "output_format": "json" if as_json else "label" if labels else infer_format(task)}
        return self.edit_spec(id, {}, facts)

    def _data(self, project: Project) -> DataSource:
        if project.data is None:
            hint = "Drop a CSV, JSON, Excel or Parquet file into the chat or the Data panel."
            raise DataError("There is no data yet.", hint=hint)
        return project.data

    def table(self, project: Project) -> Table:
        return read_table(self._data(project).path)

    def examples(self, project: Project) -> list[Example]:
        return read_examples(self.table(project), self._data(project).columns)

    def splits(self, project: Project) -> Splits:
        """The very splits that a run with the default shares will see."""
        data_plan = project.plan.data if project.plan else None
        shares, seed = (data_plan.shares, data_plan.seed) if data_plan else (Shares(), 0)
        return split(self.examples(project), shares, seed)

    def profile(self, project: Project) -> DatasetProfile:
        """What is in the data, with token lengths under the current prompt."""
        data, prompt = self._data(project), project.prompt or PromptVersion()
        base = self.base(project)
        key = (data, prompt.id, base.folder)
        if key not in self._profiles:
            table = self.table(project)
            examples = read_examples(table, data.columns)
            with self._checking:  # two panels that ask at once wait for the same checks
                if data not in self._checked:
                    self._checked[data] = check_data(table, data.columns, examples)
            counter, checked = token_counter(base.folder), self._checked[data]
            self._profiles[key] = profile_data(table, data.columns, examples, prompt, counter, checked)
        return self._profiles[key]

    def rendered_rows(self, project: Project, count: int) -> list[str]:
        """The first training rows, prompt and answer, exactly as the model will see them."""
        prompt, counter = project.prompt or PromptVersion(), token_counter(self.base(project).folder)
        rows = self.splits(project).train[:count]
        chats = [[*prompt.messages(row.input), Message(role="assistant", content=row.output)] for row in rows]
        return [counter.render(chat, for_reply=False) for chat in chats]

    def base(self, project: Project) -> LocalModel:
        """The base model, brought to this machine. Slow the first time. Raises `ModelError`."""
        return self._resolved((project.plan.base_model if project.plan else project.spec.base_model) or EMBEDDED)

    def _resolved(self, ref: str) -> LocalModel:
        if ref not in self._bases:
            self._bases[ref] = resolve(ref, self.settings.paths)
        return self._bases[ref]

    # Prompt

    def save_prompt(
        self,
        id: str,
        *,
        system: str,
        template: str,
        demonstrations: tuple[Demonstration, ...] | None = None,
        reason: str,
    ) -> Project:
        """Make a new version the current one. Raises `PromptError` where the template is not usable."""
        project = self.project(id)
        before = project.prompt or PromptVersion()
        version = before.revised(system=system, template=template, demonstrations=demonstrations, reason=reason)
        if version.id == before.id:
            return project
        self.store.add_prompt(id, version)
        return self.change(id, prompt=version)

    def restore_prompt(self, id: str, version_id: str) -> Project:
        """Make an earlier version the current one. Raises `PromptError`."""
        for stored in self.store.prompts(id):
            if stored.version.id == version_id:
                return self.change(id, prompt=stored.version)
        raise PromptError(f"There is no prompt version {version_id}.")

    def add_demonstrations(self, id: str, count: int = 4) -> Project:
        """A new version with solved examples from the training split, one for each label in turn."""
        project = self.project(id)
        prompt = project.prompt or PromptVersion()
        rows = [Demonstration(input=row.input, output=row.output) for row in self.splits(project).train]
        return self.save_prompt(
            id,
            system=prompt.system,
            template=prompt.template,
            demonstrations=choose(rows, count),
            reason=f"{count} solved examples from the training rows",
        )

    def prompts(self, id: str) -> list[StoredPrompt]:
        return self.store.prompts(id)

    def score_of(self, project: Project) -> StoredPrompt | None:
        """The current prompt's measurement, where there is one."""
        versions = [s for s in self.store.prompts(project.id) if project.prompt and s.version.id == project.prompt.id]
        return versions[0] if versions and versions[0].score else None


def _own_copy(path: Path, folder: Path, stem: str) -> Path:
    """A copy of a file or folder, named also by its content; one that is there already is kept.

    The time of change comes along, by which a converted table is known again. Links in a folder lead to files that
    are there by their own name, or nowhere.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink()) if path.is_dir() else [path]
    known = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            known.update(hashlib.file_digest(stream, "sha256").digest())
    copy = folder / f"{stem}-{known.hexdigest()[:8]}{path.suffix}"
    if copy.exists():
        return copy
    folder.mkdir(parents=True, exist_ok=True)
    draft = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}.tmp")
    if path.is_dir():
        shutil.copytree(path, draft, ignore=lambda at, names: [n for n in names if (Path(at) / n).is_symlink()])
    else:
        shutil.copy2(path, draft)
    draft.rename(copy)
    return copy


def _rows_so_far(data: DataSource | None) -> tuple[Mapping, Iterator[dict[str, str]]]:
    """The rows of a project's data, and their mapping; composed ones as the input and answer that they come to."""
    plain = Mapping(input="input", output="output")
    if data is None:
        return plain, iter(())
    table = read_table(data.path)
    if data.columns.shape is None:
        return data.columns, table.rows()
    return plain, ({"input": one.input, "output": one.output} for one in read_examples(table, data.columns))
