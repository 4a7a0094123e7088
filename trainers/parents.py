"""The model that a plan's training begins from: its base, or the whole model that a parent run tuned.

Owns that choice. Refuses to load (`modeling`) and to look for models (`models`).
"""

from __future__ import annotations

from trainers.models import LocalModel, resolve
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.status import RunFolder


def base_of(plan: TrainingPlan, paths: Paths) -> LocalModel:
    """The model under a plan's adapter. Raises `ModelError` where it is not there any more."""
    base = resolve(plan.base_model, paths, trust_remote_code=plan.trust_remote_code)
    parent = RunFolder(plan.parent) if plan.parent else None
    if parent and parent.artefact == parent.model:
        return base.model_copy(update={"kind": "folder", "folder": parent.model, "name": parent.id})
    return base
