"""The task spec: what the person wants a model to do, and where each fact came from.

Owns the fields and their origins. Refuses to know how the facts were found out (the dialogue's work) or what
follows from them (the recommendation's).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from prompts.errors import DataError

TaskKind = Literal[
    "classification",
    "extraction",
    "generation",
    "rewriting",
    "summarization",
    "question_answering",
    "chat",
    "translation",
    "code",
]
OutputFormat = Literal["label", "json", "text"]
Device = Literal["cpu", "cuda", "mps"]
MetricName = Literal["accuracy", "macro_f1", "f1", "exact_match", "rouge", "bleu", "chrf"]
Origin = Literal["said", "inferred", "default"]

TASK_KINDS: tuple[str, ...] = get_args(TaskKind)
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)
DEVICES: tuple[str, ...] = get_args(Device)
METRICS: tuple[str, ...] = get_args(MetricName)

# Weaker origins never overwrite stronger ones: what a person said stands until they say otherwise.
_STRENGTH: dict[str, int] = {"default": 0, "inferred": 1, "said": 2}


class TaskSpec(BaseModel):
    """A task as far as it is known. `None` or an empty value means: not known yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = Field("", description="The task in the person's own words")
    task: TaskKind | None = Field(None, description="What kind of task it is")
    input: str = Field("", description="What goes in, for example: support ticket")
    output: str = Field("", description="What comes out, for example: the team that should answer")
    output_format: OutputFormat | None = Field(None, description="The shape of an answer")
    labels: tuple[str, ...] = Field((), description="The allowed answers of a classification")
    fields: tuple[str, ...] = Field((), description="The keys of a JSON answer")
    input_language: str = Field("", description="The language of what goes in, as ISO 639-1 code")
    language: str = Field("", description="The language of the answer, as ISO 639-1 code")
    examples: int | None = Field(None, ge=0, description="How many labelled examples there are")
    has_preferences: bool | None = Field(None, description="Whether somebody judged which of two answers is better")
    device: Device | None = Field(None, description="What computes, in torch's words")
    gpu_memory_gb: float | None = Field(None, ge=0, description="Memory of the GPU, in GB")
    time_budget_minutes: float | None = Field(None, gt=0, description="How long a training may take")
    max_latency_ms: int | None = Field(None, gt=0, description="How soon one answer must be there, in ms")
    local_only: bool | None = Field(None, description="Whether data must stay on this machine")
    base_model: str = Field("", description="Embedded model, hub id, folder or GGUF file")
    metric: MetricName | None = Field(None, description="What counts as good")
    target_score: float | None = Field(None, gt=0, le=1, description="The score that is good enough, 0 to 1")
    tone: str = Field("", description="How an answer should sound")
    must_never: tuple[str, ...] = Field((), description="What an answer must never do")
    rules: tuple[str, ...] = Field((), description="Other rules that every answer keeps")
    licence: str = Field("", description="What the licence of model and data must allow")
    origins: dict[str, Origin] = Field(default_factory=dict)

    @field_validator("labels", "fields", "must_never", "rules")
    @classmethod
    def _distinct(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(v.strip() for v in values if v.strip()))

    def updated(self, origin: Origin, **facts: Any) -> TaskSpec:
        """A spec with these facts, each marked with its origin. A weaker origin leaves a stronger one alone.

        Raises `DataError` for a value that cannot be.
        """
        kept = {k: v for k, v in facts.items() if self._may_set(k, origin)}
        origins = {**self.origins, **dict.fromkeys(kept, origin)}
        try:
            return TaskSpec.model_validate({**self.model_dump(), **kept, "origins": origins})
        except ValidationError as error:
            first = error.errors()[0]
            raise DataError(f"The task's {first['loc'][0]} cannot be {first['input']!r}: {first['msg']}.") from error

    def _may_set(self, name: str, origin: Origin) -> bool:
        return _STRENGTH[origin] >= _STRENGTH[self.origins.get(name, "default")]

    def known(self) -> dict[str, Any]:
        """The facts that are set, without their origins, in field order."""
        values = self.model_dump(exclude={"origins"})
        return {name: value for name, value in values.items() if value not in (None, "", ())}

    def changes_since(self, before: TaskSpec) -> dict[str, tuple[Any, Any]]:
        """Field name to (old, new) for every fact that differs."""
        old, new = before.model_dump(exclude={"origins"}), self.model_dump(exclude={"origins"})
        return {name: (old[name], new[name]) for name in new if old[name] != new[name]}


def infer_format(task: str | None) -> OutputFormat | None:
    """The answer's shape that a task kind usually has, or None where no kind is known."""
    if task is None:
        return None
    return {"classification": "label", "extraction": "json"}.get(task, "text")  # type: ignore[return-value]
