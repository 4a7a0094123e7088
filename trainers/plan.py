"""The training plan: everything that decides a run, typed, as one YAML file.

Owns the fields, their limits, and reading and writing the file. Never imports torch. Refuses to start anything.
The person edits this object in the Strategy panel, the chat fills it, and `tunewright train plan.yaml` takes it.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from prompts.errors import PlanError
from prompts.metrics import METRICS
from prompts.versions import PromptVersion
from trainers.data import Mapping
from trainers.edits import Edit
from trainers.models import EMBEDDED
from trainers.objectives import AnyObjective, SftObjective
from trainers.splits import Shares
from trainers.strategies import AnyStrategy, ImportedStrategy, LoraStrategy, MetaLoraStrategy

MOST_GENERAL_ROWS = 150  # as many questions as `replay` has, some of which a base cannot answer


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
    general_rows: int = Field(
        0,
        ge=0,
        le=MOST_GENERAL_ROWS,
        description="Mix in so many general questions that the base answers, against forgetting",
    )


class Optimization(_Part):
    """How the weights are moved."""

    epochs: float = Field(3.0, gt=0, le=100)
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the rate rises")
    batch_size: int = Field(8, ge=1, le=1024, description="Rows at once on the device; halved where memory runs out")
    gradient_accumulation: int = Field(1, ge=1, le=1024, description="Batches per optimizer step")
    gradient_checkpointing: bool | None = Field(None, description="Less memory, a third slower; null: on a GPU only")
    max_tokens: int = Field(512, ge=16, le=131072, description="Longer rows are cut")
    weight_decay: float = Field(0.0, ge=0, le=1)
    max_grad_norm: float = Field(1.0, gt=0)
    patience: int | None = Field(3, ge=1, description="Stop after so many evaluations without a lower dev loss")
    evaluations_per_epoch: int = Field(1, ge=1, le=100)
    checkpoint_minutes: float = Field(3.0, ge=0, description="A checkpoint at least this often, to resume from")
    seed: int = 0

    @property
    def effective_batch(self) -> int:
        """Rows per optimizer step."""
        return self.batch_size * self.gradient_accumulation


ProbeName = Literal[
    "curves", "memorisation", "robustness", "general", "perplexity", "stereotypes", "counterfactuals", "demands"
]
PROBES: tuple[ProbeName, ...] = get_args(ProbeName)


class EvaluationPlan(_Part):
    """How base and tuned model are compared on the test split: greedy, and held to what the prompt allows.

    And from which other sides they are looked at; see `trainers.evaluation`.
    """

    metric: str = Field("exact match", description=f"One of: {', '.join(METRICS)}")
    max_new_tokens: int = Field(24, ge=1, le=8192)
    batch_size: int = Field(16, ge=1, le=1024)
    row_seconds: float = Field(120, gt=0, description="A row that takes longer is a failure")
    few_shot: int = Field(4, ge=0, le=64, description="Measure the base with so many solved examples too")
    prompts: dict[str, PromptVersion] = Field({}, description="Further prompts that the base is measured with, by name")
    probes: tuple[ProbeName, ...] = Field(PROBES, description="What else is looked at, beside the test rows")
    probe_rows: int = Field(48, ge=1, le=10_000, description="At most so many rows for each probe")
    own_tasks: tuple[Path, ...] = Field((), description="Files with other tasks that it must still be able to do")
    general_text: Path | None = Field(None, description="A text file for perplexity, in place of our own texts")
    pairs: Path | None = Field(None, description="Stereotype pairs in CrowS-Pairs' format, in place of our own")

    def found_from(self, folder: Path) -> EvaluationPlan:
        """The same with relative paths counted from a folder."""
        own = tuple(folder / path.expanduser() for path in self.own_tasks)
        text, pairs = (path and folder / path.expanduser() for path in (self.general_text, self.pairs))
        return self.model_copy(update={"own_tasks": own, "general_text": text, "pairs": pairs})

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
    parent: Path | None = Field(None, description="The run whose result this one begins from")
    data: DataPlan
    prompt: PromptVersion = PromptVersion()
    strategy: AnyStrategy = LoraStrategy()
    objective: AnyObjective = SftObjective()
    training: Optimization = Optimization()
    evaluation: EvaluationPlan = EvaluationPlan()

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, raw: Any) -> Any:
        """The usual strategy and objective where none is named; and plans from before there were others."""
        if not isinstance(raw, dict):
            return raw
        raw = {key: value for key, value in raw.items() if (key, value) != ("kind", "sft")}
        for key, usual in (("strategy", "lora"), ("objective", "sft")):
            if isinstance(raw.get(key), dict):
                raw[key] = {"type": usual, **raw[key]}
        return raw

    @model_validator(mode="after")
    def _goes_together(self) -> TrainingPlan:
        objective, strategy = self.objective, self.strategy
        if isinstance(objective, SftObjective) and objective.packing and strategy.virtual:
            raise ValueError(f"rows cannot be packed with {strategy.title}: they would see each other")
        if objective.compares and not strategy.trains:
            raise ValueError(f"{strategy.title} trains nothing, so that it cannot learn from {objective.title}")
        if objective.compares and not strategy.by_trl:
            raise ValueError(f"{strategy.title} learns from examples alone, and not from {objective.title}")
        if objective.compares and strategy.form == "adapter" and not strategy.keeps_base:
            raise ValueError("an initialisation that changes the base leaves no parent to compare with")
        if objective.type == "kto" and self.training.batch_size < 2:
            raise ValueError("KTO compares the rows of a batch with each other: batch_size must be at least 2")
        if self.data.general_rows and not (isinstance(objective, SftObjective) and strategy.trains and strategy.by_trl):
            told = f"{strategy.title} with {objective.title} takes no general rows"
            raise ValueError(f"{told}: data.general_rows goes with a training on examples (SFT) alone")
        if self.parent and not (strategy.trains and strategy.by_trl):
            raise ValueError(f"{strategy.title} begins from the base, and from no parent")
        return self

    def to_yaml(self, comments: dict[str, str] | None = None) -> str:
        """The plan as the YAML that `read_plan` takes, with a comment on the keys that have one ("training.epochs").

        How the result will be served always stands there.
        """
        raw = self.model_dump(mode="json", exclude_none=True)
        raw["training"]["patience"] = self.training.patience  # None says something there: the default is a number
        text = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=120)
        return commented(text, {"strategy": f"served {self.strategy.serving.told}", **(comments or {})})


def commented(text: str, comments: dict[str, str]) -> str:
    """YAML of mappings with a comment at the end of the lines whose key, as a dotted path, has one."""
    lines: list[str] = []
    path: list[str] = []
    for line in text.splitlines():
        found = re.match(r"( *)([\w]+):", line)
        if found:
            path = [*path[: len(found[1]) // 2], found[2]]
        told = comments.get(".".join(path)) if found else None
        lines.append(f"{line}  # {told}" if told else line)
    return "\n".join(lines) + "\n"


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
    local: dict[str, Any] = {"base_model": str(base)} if plan.base_model != EMBEDDED and base.exists() else {}
    if plan.parent:
        local["parent"] = here / plan.parent.expanduser()
    if isinstance(plan.strategy, MetaLoraStrategy):
        pool = tuple(task.model_copy(update={"path": here / task.path.expanduser()}) for task in plan.strategy.pool)
        local["strategy"] = plan.strategy.model_copy(update={"pool": pool})
    local["evaluation"] = plan.evaluation.found_from(here)
    if isinstance(plan.strategy, ImportedStrategy):
        local["strategy"] = ImportedStrategy(adapter=here / plan.strategy.adapter.expanduser())
    return plan.model_copy(update={"data": data.model_copy(update=found), **local})


def parse_plan(raw: dict[str, Any], where: str = "The plan") -> TrainingPlan:
    """Validate a plan's values. Raises `PlanError` with the first thing that is wrong."""
    try:
        return TrainingPlan.model_validate(raw)
    except ValidationError as error:
        raise _explain(error, where) from error


def _explain(error: ValidationError, where: str) -> PlanError:
    first = error.errors()[0]
    model, named = _located(first["loc"])
    key = ".".join(named)
    if first["type"] == "extra_forbidden":
        known = list(model.model_fields)
        near = difflib.get_close_matches(named[-1], known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"The keys there are: {', '.join(known)}."
        return PlanError(f"{where}: unknown key {key!r}.", hint=hint)
    if first["type"] == "missing":
        return PlanError(f"{where}: {key!r} is missing.", hint="Add it.")
    if first["type"].startswith("union_tag"):
        tag = first["input"].get("type") if isinstance(first["input"], dict) else first["input"]
        known = re.findall(r"'([^']+)'", first.get("ctx", {}).get("expected_tags", ""))
        near = difflib.get_close_matches(str(tag), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Use one of: {', '.join(known)}."
        return PlanError(f"{where}: '{key}.type' is {tag!r}, which there is not.", hint=hint)
    reason = first["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    if not isinstance(first["input"], dict):
        return PlanError(f"{where}: {key!r} is {first['input']!r}, but {reason}.", hint="Change it.")
    return PlanError(f"{where}: {f'{key!r}: ' if key else ''}{reason}.", hint="Change one of the two.")


def _located(location: tuple[int | str, ...]) -> tuple[type[BaseModel], list[str]]:
    """The model that holds the place of an error, and the keys that lead there: pydantic names a union's choice too."""
    model: type[BaseModel] = TrainingPlan
    choices: dict[str, type[BaseModel]] = {}
    keys: list[str] = []
    for part in location:
        if part in choices:
            model, choices = choices[str(part)], {}
            continue
        inner = _models(model, keys[-1]) if keys else []
        if len(inner) == 1:
            model = inner[0]
        keys.append(str(part))
        choices = {
            kind.model_fields["type"].default: kind for kind in _models(model, keys[-1]) if "type" in kind.model_fields
        }
    return model, keys


def _models(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    """The models that a field may hold."""
    found = model.model_fields.get(field)
    kinds = (found.annotation, *get_args(found.annotation)) if found else ()
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
