"""The search for a better prompt without the app: a spec and a file in, a version and what it is worth out.

Owns the record of what came of it. The search is the workshop's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assistant.improving import Improving
from assistant.settings import Settings
from assistant.spec_file import Asked, passing_project
from prompts.errors import PromptError
from prompts.versions import PromptVersion


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
    with passing_project(settings, asked, data, columns) as (pipeline, project):
        begun = time.monotonic()
        job = pipeline.start_improving(project.id, minutes)
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
