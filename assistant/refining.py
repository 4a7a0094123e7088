"""The search for a better prompt without the app: a spec and a file in, a version and what it is worth out.

Owns the passing project that the search needs and the record of what came of it. The search is the workshop's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.improving import Improving
from assistant.pipeline import Pipeline
from assistant.project import LOCAL
from assistant.settings import Settings
from assistant.workbench import NEW_PROJECT
from prompts.errors import DataError, PromptError
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

    Raises `DataError` that names the field and what is wrong with it.
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
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "prompt"
        raise DataError(
            f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}.", hint="Mend that line."
        ) from error


def refine(
    asked: Asked,
    data: Path,
    minutes: float,
    settings: Settings,
    columns: dict[str, str],
    follow: Callable[[Improving], None],
) -> dict[str, Any]:
    """Search within the minutes, and say what came of it. `follow` watches the job until it has ended.

    Nothing is kept but what is returned. Raises a `TunewrightError` where the search cannot begin or found nothing.
    """
    with _passing_pipeline(settings) as pipeline:
        id = pipeline.store.create_project(NEW_PROJECT, LOCAL).id
        pipeline.edit_spec(id, asked.spec.known())
        table = read_table(data)
        project = pipeline.add_file(
            id, data, columns=guess_mapping(table).model_copy(update=columns) if columns else None
        )
        if asked.prompt:
            project = pipeline.take_prompt(id, asked.prompt)
        begun = time.monotonic()
        job = pipeline.start_improving(id, minutes)
        follow(job)
        if job.outcome is None:
            raise PromptError(job.error or job.message or "The search ended without an outcome.")
        return told(job) | {"seconds": round(time.monotonic() - begun, 1), "yours": _written(project.prompt)}


def told(job: Improving) -> dict[str, Any]:
    """What a search has found, for machines: the version to take, whether it is better, and every candidate."""
    found = job.outcome
    assert found is not None
    return {
        "better": found.better,
        "told": found.sentence,
        "prompt": _written(found.kept),
        "comparison": found.comparison.model_dump(mode="json") if found.comparison else None,
        "candidates": [line.model_dump(mode="json") for line in found.table],
        "notes": list(found.notes),
    }


def _written(version: PromptVersion | None) -> dict[str, Any] | None:
    """A version as a plan's `prompt:` takes it, and its id."""
    return version.model_dump(mode="json", exclude_none=True) if version else None


@contextmanager
def _passing_pipeline(settings: Settings) -> Iterator[Pipeline]:
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        paths = Paths(home=Path(folder), cache=settings.paths.cache)
        pipeline = Pipeline(replace(settings, paths=paths, database_url=""))
        try:
            yield pipeline
        finally:
            pipeline.close()
