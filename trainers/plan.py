"""The training plan: everything that decides a run, typed, as one YAML file.

Owns the fields, their limits, and reading and writing the file. Never imports torch. Refuses to start anything.
The person edits this object in the Strategy panel, the chat fills it, and `tunewright train plan.yaml` takes it.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from prompts.errors import PlanError
from prompts.metrics import METRICS
from prompts.versions import PromptVersion
from trainers.data import Mapping
from trainers.edits import Edit
from trainers.models import EMBEDDED
from trainers.splits import Shares
from trainers.strategies.lora import LoraStrategy


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataPlan(_Part):
    """Where the examples come from and how they are divided."""

    path: Path
    columns: Mapping
    edits: tuple[Edit, ...] = Field((), description="What was changed since the file was read, in this order")
    shares: Shares = Shares()
    seed: int = 0
    max_train_rows: int | None = Field(None, ge=1, description="Train on at most this many rows")


class Optimization(_Part):
    """How the weights are moved."""

    epochs: float = Field(3.0, gt=0, le=100)
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    batch_size: int = Field(8, ge=1, le=1024, description="Rows at once on the device")
    gradient_accumulation: int = Field(1, ge=1, le=1024, description="Batches per optimizer step")
    max_tokens: int = Field(512, ge=16, le=131072, description="Longer rows are cut")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the rate rises")
    seed: int = 0


class EvaluationPlan(_Part):
    """How base and tuned model are compared on the test split: greedy, and held to what the prompt allows."""

    metric: str = Field("exact match", description=f"One of: {', '.join(METRICS)}")
    max_new_tokens: int = Field(24, ge=1, le=8192)
    batch_size: int = Field(16, ge=1, le=1024)

    @field_validator("metric")
    @classmethod
    def _exists(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f"the metrics are: {', '.join(METRICS)}")
        return metric


class TrainingPlan(_Part):
    """One run, whole."""

    name: str = "tuned"
    base_model: str = EMBEDDED
    trust_remote_code: bool = Field(False, description="Whether code that comes with the base model may run")
    data: DataPlan
    prompt: PromptVersion = PromptVersion()
    # The second strategy turns this into a union discriminated on `type`.
    strategy: LoraStrategy = LoraStrategy()
    training: Optimization = Optimization()
    evaluation: EvaluationPlan = EvaluationPlan()
    kind: Literal["sft"] = "sft"

    def to_yaml(self) -> str:
        """The plan as the YAML that `read_plan` takes."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)


def read_plan(path: Path) -> TrainingPlan:
    """Read a plan. Relative paths, a base model's included, count from the plan's folder.

    Raises `PlanError` that names the key, what is wrong with it, and the nearest key that exists.
    """
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise PlanError(f"There is no plan {path}.", hint="Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"The plan {path} cannot be read: {error}.", hint="Give a YAML file.") from error
    except yaml.YAMLError as error:
        raise PlanError(
            f"{path.name} is not valid YAML: {' '.join(str(error).split())}.", hint="Mend that line."
        ) from error
    if not isinstance(raw, dict):
        raise PlanError(f"{path.name} is not a plan: it holds no keys.", hint="Start with `base_model:` and `data:`.")
    plan = parse_plan(raw, path.name)
    here, data = path.resolve().parent, plan.data
    edits = tuple(edit.model_copy(update={"rows": here / edit.rows.expanduser()}) for edit in data.edits)
    found = {"path": here / data.path.expanduser(), "edits": edits}
    base = here / Path(plan.base_model).expanduser()
    local = {"base_model": str(base)} if plan.base_model != EMBEDDED and base.exists() else {}
    return plan.model_copy(update={"data": data.model_copy(update=found), **local})


def parse_plan(raw: dict[str, Any], where: str = "The plan") -> TrainingPlan:
    """Validate a plan's values. Raises `PlanError` with the first thing that is wrong."""
    try:
        return TrainingPlan.model_validate(raw)
    except ValidationError as error:
        raise _explain(error, where) from error


def _explain(error: ValidationError, where: str) -> PlanError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_beside(first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"The keys there are: {', '.join(known)}."
        return PlanError(f"{where}: unknown key {key!r}.", hint=hint)
    if first["type"] == "missing":
        return PlanError(f"{where}: {key!r} is missing.", hint="Add it.")
    reason = first["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    return PlanError(f"{where}: {key!r} is {first['input']!r}, but {reason}.", hint="Change it.")


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """The keys that are known where an unknown one was found."""
    model: type[BaseModel] = TrainingPlan
    for part in location[:-1]:
        field = model.model_fields.get(str(part))  # none for a place in a list
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return list(model.model_fields)
