"""One person's project: everything known about one task. Owns the records; refuses to store or change them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from prompts.metrics import Score
from prompts.spec import TaskSpec
from prompts.versions import Demonstration, PromptVersion
from trainers.data import Mapping
from trainers.edits import Edit
from trainers.plan import TrainingPlan

Stage = Literal["Task", "Data", "Prompt", "Strategy", "Train", "Report", "Compare"]
STAGES: tuple[Stage, ...] = get_args(Stage)
LOCAL = "local"  # whose projects are, where nobody logs in


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSource(_Record):
    """The project's own copy of a file, its name as the person knows it, which columns count, and what was changed."""

    path: Path
    name: str
    columns: Mapping
    edits: tuple[Edit, ...] = ()


class Snapshot(_Record):
    """What a project was made of before a message or an edit changed it; "go back" returns to it."""

    name: str
    spec: TaskSpec
    data: DataSource | None
    typed: tuple[Demonstration, ...]
    prompt: PromptVersion | None
    plan: TrainingPlan | None
    pending: Edit | None = None
    proposal: PromptVersion | None = None


class Project(_Record):
    """A task from first message to side by side. `stage` is the panel that the person was brought to last."""

    id: str
    name: str
    created: float
    owner: str = LOCAL
    deleted: float | None = Field(None, description="When it was deleted; it can be brought back for a while")
    stage: Stage = "Task"
    stage_visits: int = Field(0, description="Counts up whenever the journey brings the person to a panel")
    spec: TaskSpec = TaskSpec()
    data: DataSource | None = None
    prompt: PromptVersion | None = None
    proposal: PromptVersion | None = Field(None, description="A version of the prompt that waits for the person's word")
    plan: TrainingPlan | None = None
    run_id: str | None = None
    earlier_runs: tuple[str, ...] = ()
    typed: tuple[Demonstration, ...] = Field((), description="Rows from the chat, too few yet to be the data")
    pending: Edit | None = Field(None, description="Rows that a model wrote, and nobody has looked at yet")
    past: tuple[Snapshot, ...] = Field((), description="Where one can go back to, the latest last")
    asked: str | None = Field(None, description="The spec field that the chat's open question is about")
    skipped: tuple[str, ...] = Field((), description="Questions that the person does not want to be asked")
    warned: tuple[str, ...] = Field((), description="Warnings that the chat gave already")
    arms: tuple[str, ...] = Field((), description="Who is compared, by the contenders' keys, if the person chose")
    shown_run: str | None = Field(None, description="The run that report and comparison are about, if not the latest")
    trials_id: str | None = Field(None, description="The trials that were started last")
    announced: tuple[str, ...] = Field((), description="The runs whose end the chat has told")

    @field_validator("announced", mode="before")
    @classmethod
    def _as_several(cls, told: Any) -> Any:
        """As projects were kept when only the latest run was told of."""
        return (told,) if isinstance(told, str) else told or ()

    def snapshot(self) -> Snapshot:
        return Snapshot.model_validate({name: getattr(self, name) for name in Snapshot.model_fields})


class Turn(_Record):
    """One message of the chat with the assistant. `options` are likely answers, shown as buttons."""

    role: Literal["user", "assistant"]
    text: str
    options: tuple[str, ...] = ()


class StoredPrompt(_Record):
    """A prompt version in a project, with its score on the dev split where it was measured.

    `others` are further figures of the same answers; `rows` is a hash of the rows that were asked: scores on other
    rows, or by another metric, are not to be held against each other.
    """

    version: PromptVersion
    score: Score | None = None
    metric: str = ""
    others: dict[str, Score] = {}
    rows: str = ""
