"""A project's data: taking it in, correcting how it is read, changing rows, dividing and profiling it.

Owns the project's own copy of a file, which is never changed, and the list of changes on top of it, any of which can be
undone. Refuses to judge rows (`checks`), to write any (`writing`) and to know what a person sees of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assistant.copies import own_copy
from assistant.profiling import Profiler, Profiling
from assistant.project import DataSource, Project
from assistant.samples import SAMPLE_FACTS, SAMPLE_NAME, sample_file
from assistant.settings import Settings
from assistant.workbench import Workbench
from prompts.chat_model import Message
from prompts.demonstrations import choose
from prompts.errors import DataError
from prompts.spec import TaskSpec, infer_format
from prompts.versions import Demonstration, PromptVersion
from trainers.checks import Checked, Say
from trainers.checks.finding import Finding, counted
from trainers.data import Example, Mapping, Origin, guess_mapping, labels_of
from trainers.dataset import Dataset, dataset_of, load_dataset
from trainers.edits import Action, Edit, keep_edit, next_row
from trainers.profile import DatasetProfile, profile_data
from trainers.reading import Table, read_table
from trainers.splits import Shares, Splits
from trainers.tokens import token_counter

FROM_CHAT = "rows from the chat"
ANSWERED = "Answers given by you"
APPROVED = "Written by a model, approved by you"
PENDING = "Written by a model, not looked at yet"


class DataBench(Workbench):
    """The workbench, and what can be done with data on it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._profiler = Profiler()
        self._checked: tuple[DataSource, Checked] | None = None  # what the last profile found whatever the prompt

    # Taking it in

    def add_file(self, id: str, path: Path, name: str = "", columns: Mapping | None = None) -> Project:
        """Take a copy of a file or folder as the project's data, and infer. Rows typed before come along.

        Raises `DataError`; then nothing changes.
        """
        typed = self.project(id).typed
        project = self._take(id, path, name or path.name, columns)
        return self.add_rows(id, typed) if typed else project

    def _take(self, id: str, path: Path, name: str, columns: Mapping | None) -> Project:
        table = read_table(path)
        columns = columns or guess_mapping(table)
        data = dataset_of(table, columns)
        copy = own_copy(path, self._files_of(id), Path(name).stem)
        self.change(id, data=DataSource(path=copy, name=name, columns=columns), plan=None, typed=(), pending=None)
        return self._learn_from(id, data)

    def add_rows(self, id: str, rows: Sequence[Demonstration], enough: int = 1) -> Project:
        """Rows from the chat: added to the data where there is some, else kept until there are `enough` of them."""
        project = self.project(id)
        if project.data is not None:
            numbered = self._numbered(project, rows, "typed")
            return self.edit(id, "add_rows", f"Added from the chat: {counted(rows)}", numbered)
        typed = (*project.typed, *rows)
        if len(typed) < enough:
            return self.change(id, typed=typed)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "typed.jsonl"
            path.write_text("".join(f"{row.model_dump_json()}\n" for row in typed), encoding="utf-8")
            return self._take(id, path, FROM_CHAT, Mapping(input="input", output="output"))

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

    def set_columns(self, id: str, columns: Mapping) -> Project:
        """Correct which columns count. Raises `DataError`; then nothing changes."""
        data = self.source(self.project(id))
        if columns.input == columns.output and columns.shape is None:
            raise DataError(f"{columns.input!r} cannot be both.", hint="Choose one column that goes in, one to answer.")
        changed = data.model_copy(update={"columns": columns})
        loaded = _dataset(changed)
        self.change(id, data=changed, plan=None)
        return self._learn_from(id, loaded)

    def _learn_from(self, id: str, data: Dataset) -> Project:
        examples = data.examples
        labels = labels_of(examples)
        facts: dict[str, Any] = {"examples": len(examples), "labels": labels}
        task = self.project(id).spec.task or ("classification" if labels else "generation")
        as_json = bool(examples) and all(example.output.startswith("{") for example in examples)
        facts |= {"task": task, "output_format": "json" if as_json else "label" if labels else infer_format(task)}
        return self.edit_spec(id, {}, facts)

    # Changing it

    def fix(self, id: str, finding: Finding) -> Project:
        """Carry out what a finding suggests. Raises `DataError` where it would leave nothing."""
        if finding.fix is None:
            raise DataError("Nothing is suggested for this finding.", hint="Read the rows that it names.")
        return self.edit(id, finding.fix.action, finding.fix.words, map(_row, finding.rows))

    def edit(self, id: str, action: Action, words: str, rows: Iterable[Example]) -> Project:
        """Put one more change on the data. Raises `DataError` where nothing would be left."""
        edit = keep_edit(self.edits_of(id), action, words, rows)
        return self._with_edits(id, (*self.source(self.project(id)).edits, edit))

    def undo(self, id: str, index: int) -> Project:
        """Take one change back, whichever it is; the others stay. Raises `DataError` where it is gone already."""
        data = self.source(self.project(id))
        if not 0 <= index < len(data.edits):
            raise DataError("This change is undone already.", hint="Look at the list once more.")
        return self._with_edits(id, data.edits[:index] + data.edits[index + 1 :])

    def pending(self, project: Project) -> list[Example]:
        """Rows that a model wrote and nobody has looked at yet. No training sees them."""
        return list(project.pending.lines()) if project.pending else []

    def keep_pending(self, id: str, rows: Sequence[Demonstration]) -> Project:
        """Keep rows that a model wrote until a person has looked at them."""
        with self._lock:
            project = self.project(id)
            new = self._numbered(project, rows, "written")
            return self.change(id, pending=self.pending_edit(id, [*self.pending(project), *new]))

    def approve(self, id: str, rows: Sequence[Example]) -> Project:
        """Move pending rows into the data, with what the person made of their input and output.

        Rows approved one after the other are one change in the list: each change would be dealt to the splits by
        itself. The data is not read again, which would take too long after each; `learn` does that, once things rest.
        Raises `DataError` for a row that is not pending, or that has no input or no answer.
        """
        if not all(row.input.strip() and row.output.strip() for row in rows):
            raise DataError("A row needs an input and an answer.", hint="Fill both, or reject it.")
        with self._lock:
            project = self.project(id)
            data, waiting = self.source(project), self._others(project, [row.row for row in rows])
            edits, earlier = _last_approved(data.edits)
            new = [Example(row.row, row.input.strip(), row.output.strip(), "written") for row in rows]
            edit = keep_edit(self.edits_of(id), "add_rows", approved(len(earlier) + len(new)), [*earlier, *new])
            edited = data.model_copy(update={"edits": (*edits, edit)})
            return self.change(id, data=edited, pending=self.pending_edit(id, waiting))

    def reject(self, id: str, rows: Iterable[int]) -> Project:
        """Throw pending rows away, by number. Raises `DataError` for one that is not pending."""
        with self._lock:
            return self.change(id, pending=self.pending_edit(id, self._others(self.project(id), list(rows))))

    def learn(self, id: str) -> Project:
        """Bring what the task says of the data up to date with its rows."""
        return self._learn_from(id, self.dataset(self.project(id)))

    def _others(self, project: Project, rows: Sequence[int]) -> list[Example]:
        """The pending rows without these."""
        waiting = {row.row: row for row in self.pending(project)}
        if not all(waiting.pop(row, None) for row in rows):
            raise DataError("Somebody has looked at this row already.", hint="Go on with the next one.")
        return list(waiting.values())

    def pending_edit(self, id: str, rows: Sequence[Example]) -> Edit | None:
        """Rows that wait, as they are kept; None where there are none."""
        return keep_edit(self.edits_of(id), "add_rows", PENDING, rows) if rows else None

    def edits_of(self, id: str) -> Path:
        """The folder of a project's changes."""
        return self._files_of(id) / "edits"

    def _numbered(self, project: Project, rows: Sequence[Demonstration], origin: Origin) -> list[Example]:
        """The rows with numbers that none has or had, what is pending included."""
        taken = (*self.source(project).edits, *([project.pending] if project.pending else []))
        first = next_row(self.dataset(project).last_row, taken)
        return [Example(row=first + n, input=row.input, output=row.output, origin=origin) for n, row in enumerate(rows)]

    def _with_edits(self, id: str, edits: tuple[Edit, ...]) -> Project:
        changed = self.source(self.project(id)).model_copy(update={"edits": edits})
        loaded = _dataset(changed)
        if not loaded.examples and not loaded.unanswered:
            raise DataError("This would leave no row at all.", hint="Fix fewer rows, or give other data.")
        self.change(id, data=changed)
        return self._learn_from(id, loaded)

    # Looking at it

    def source(self, project: Project) -> DataSource:
        """The project's data and what was changed. Raises `DataError` where there is none."""
        if project.data is None:
            hint = "Drop a CSV, JSON, Excel or Parquet file into the chat or the Data panel."
            raise DataError("There is no data yet.", hint=hint)
        return project.data

    def dataset(self, project: Project) -> Dataset:
        """The rows with everything that was changed. Raises `DataError` without data."""
        return _dataset(self.source(project))

    def table(self, project: Project) -> Table:
        return self.dataset(project).table

    def examples(self, project: Project) -> tuple[Example, ...]:
        return self.dataset(project).examples

    def splits(self, project: Project) -> Splits:
        """The very splits that a run with the default shares will see."""
        return _splits(self.source(project), *_division(project))

    def profiling(self, project: Project, *, again: bool = False) -> Profiling:
        """The profile on its way, begun now where it was not: what the panels show of it never waits.

        One that failed is begun `again` where that is asked for.
        """
        data, prompt, how = self.source(project), project.prompt or PromptVersion(), _division(project)

        def work(say: Say) -> DatasetProfile:
            say(0.0, "reading")
            loaded, folder = _dataset(data), self.base(project).folder
            known = self._checked[1] if self._checked and self._checked[0] == data else None
            profile, checked = profile_data(loaded, prompt, token_counter(folder), known, say)
            say(0.95, "dividing")
            _splits(data, *how)
            self._checked = data, checked
            return profile

        return self._profiler.begin((data, prompt, self.base_ref(project)), work, again=again)

    def is_divided(self, project: Project) -> bool:
        """Whether the splits are there without waiting, as they are once any profile of this data was made."""
        return self._checked is not None and self._checked[0] == project.data

    def profile(self, project: Project) -> DatasetProfile:
        """What is in the data, with token lengths under the current prompt. Waits until it is known."""
        return self.profiling(project, again=True).result()

    def rendered_rows(self, project: Project, count: int) -> list[str]:
        """The first training rows, prompt and answer, exactly as the model will see them."""
        prompt, counter = project.prompt or PromptVersion(), token_counter(self.base(project).folder)
        rows = self.splits(project).train[:count]
        chats = [[*prompt.messages(row.input), Message(role="assistant", content=row.output)] for row in rows]
        return [counter.render(chat, for_reply=False) for chat in chats]

    def add_demonstrations(self, id: str, count: int = 4) -> Project:
        """A new version with solved examples from the training split, one for each label in turn."""
        train = self.splits(self.project(id)).train
        rows = [Demonstration(input=row.input, output=row.output) for row in train]
        reason = f"{count} solved examples from the training rows"
        return self.save_prompt(id, demonstrations=choose(rows, count), reason=reason)


@lru_cache(maxsize=2)  # of a million rows, one takes a few hundred MB
def _dataset(data: DataSource) -> Dataset:
    return load_dataset(data.path, data.columns, data.edits)


@lru_cache(maxsize=16)
@lru_cache(maxsize=4)
def _splits(data: DataSource, shares: Shares, seed: int) -> Splits:
    return _dataset(data).splits(shares, seed)


def _division(project: Project) -> tuple[Shares, int]:
    """The shares and the seed that a run will divide by."""
    return (project.plan.data.shares, project.plan.data.seed) if project.plan else (Shares(), 0)


def approved(count: int) -> str:
    """The change that adds so many written rows, in words."""
    return f"{APPROVED}: {count} row{'s' * (count != 1)}"


def _last_approved(edits: tuple[Edit, ...]) -> tuple[tuple[Edit, ...], list[Example]]:
    """The changes without the last one, and its rows, where it added approved rows; else all changes, and none."""
    if edits and edits[-1].action == "add_rows" and edits[-1].words.startswith(APPROVED):
        return edits[:-1], list(edits[-1].lines())
    return edits, []


def _row(number: int) -> Example:
    """A row by its number alone."""
    return Example(row=number, input="", output="")
