"""A task from a file, for the command line: its spec and prompt, and a passing project to work on it.

Owns the form of `spec.yaml` and what is said of a mistake in it. Refuses to do anything with the task.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.pipeline import Pipeline
from assistant.project import LOCAL, Project
from assistant.settings import Settings
from assistant.workbench import NEW_PROJECT
from prompts.errors import DataError
from prompts.spec import TaskSpec
from prompts.versions import PromptVersion
from trainers.data import guess_mapping
from trainers.paths import Paths
from trainers.reading import read_table


class Asked(BaseModel):
    """What `spec.yaml` holds: facts of the task, and the prompt to begin with, where there is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: TaskSpec
    prompt: PromptVersion | None = None


def read_asked(path: Path) -> Asked:
    """Read a spec: the fields of the task, and `prompt` with system, template and so on.

    Raises `DataError` that names the file, the key, what is wrong with it, and what is near to it.
    """
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            f"The spec {path} cannot be read: {' '.join(str(error).split())}.", hint="Give a YAML file."
        ) from error
    if not isinstance(raw, dict):
        raise DataError(f"{path} holds no spec.", hint="It has lines such as `task: classification`.")
    prompt = raw.pop("prompt", None)
    try:
        facts = TaskSpec.model_validate(raw).known()
        return Asked(
            spec=TaskSpec().updated("said", **facts), prompt=PromptVersion.model_validate(prompt) if prompt else None
        )
    except ValidationError as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: ValidationError) -> DataError:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"])) or "prompt"
    if first["type"] == "extra_forbidden":
        known = list((PromptVersion if error.title == PromptVersion.__name__ else TaskSpec).model_fields)
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"The keys are: {', '.join(known)}."
        return DataError(f"{path}: unknown key {key!r}.", hint=hint)
    reason = first["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    if first["type"] == "missing":
        return DataError(f"{path}: {key!r} is missing.", hint="Add that line.")
    return DataError(f"{path}: {key!r} is {first['input']!r}, but {reason}.", hint="Mend that line.")


@contextmanager
def passing_project(
    settings: Settings, asked: Asked, data: Path | None, columns: dict[str, str], *, fetch_model: bool = True
) -> Iterator[tuple[Pipeline, Project]]:
    """A project with this task and file of which nothing is kept, with the person's own cache of models.

    `columns` are those that the person named. Raises a `TunewrightError` where file, spec or base cannot be used.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        paths = Paths(home=Path(folder), cache=settings.paths.cache)
        pipeline = Pipeline(replace(settings, paths=paths, database_url=""))
        try:
            id = pipeline.store.create_project(NEW_PROJECT, LOCAL).id
            project = pipeline.edit_spec(id, asked.spec.known(), fetch_model=fetch_model)
            if data is not None:
                table = read_table(data)
                mapping = guess_mapping(table).model_copy(update=columns) if columns else None
                project = pipeline.add_file(id, data, columns=mapping)
            if asked.prompt:
                project = pipeline.take_prompt(id, asked.prompt)
            yield pipeline, project
        finally:
            pipeline.close()
