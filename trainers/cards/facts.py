"""All that is known of a run, gathered once for the model card, the printable page, the JSON and the screen.

Owns what counts as known: a value stands there only where it was measured or said, else the reason why not. Refuses
to word whole texts and to draw. Never imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from prompts.spec import TaskSpec
from prompts.versions import PromptVersion
from trainers.energy import NOTHING_SAID, Energy, Rates, read_energy
from trainers.evaluation.records import EvaluationReport, Figure, Gate, Group, Level, Part, Prediction, Unit
from trainers.models import EMBEDDED, catalogue
from trainers.plan import TrainingPlan
from trainers.splits import SPLITS
from trainers.status import RunFolder, RunStatus

GROUPS: dict[Group, str] = {
    "quality": "Quality",
    "overfitting": "Overfitting",
    "transfer": "What it could do before",
    "bias": "Bias",
    "demands": "What you demanded",
}
LEVELS: dict[Level, str] = {
    "passed": "passed",
    "warning": "look at this",
    "failed": "failed",
    "unknown": "not known",
}
NOT_STATED = "not stated"
_EMBEDDED_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_SPDX = re.compile(r"^licen[cs]e:\s*[\"']?([\w.+-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Known:
    """A figure as it is told, or why there is none."""

    value: float | None
    told: str
    why: str = ""

    def __str__(self) -> str:
        return self.told if self.value is not None else f"not measured: {self.why}"


@dataclass(frozen=True)
class Facts:
    """One run's files, read once. `rates` are what the person says of electricity and hours."""

    run_id: str
    name: str
    plan: TrainingPlan
    status: RunStatus
    report: EvaluationReport | None
    predictions: Sequence[Prediction]
    metrics: Sequence[dict[str, Any]]
    spec: TaskSpec | None
    prompt: PromptVersion
    rows: dict[str, int]
    counted: Energy | None
    rates: Rates = NOTHING_SAID

    @property
    def gates(self) -> list[tuple[Group, Gate]]:
        """Every gate with its group, in the groups' order."""
        if self.report is None:
            return []
        return sorted(self.report.every_gate, key=lambda one: list(GROUPS).index(one[0]))

    @property
    def limits(self) -> list[tuple[str, str]]:
        """What each probe cannot show, by the probe's title."""
        return [(part.title, part.limits) for part in self.parts if part.limits]

    @property
    def parts(self) -> Sequence[Part]:
        return self.report.parts if self.report else ()

    @property
    def task(self) -> str:
        """What it is for, in the person's words; empty where nobody said."""
        return self.spec.description if self.spec else ""

    @property
    def base(self) -> str:
        """The base model's name, without the folders of this machine."""
        if self.report:
            return self.report.base_model
        return named(self.plan.base_model)

    @property
    def base_id(self) -> str | None:
        """The base's hub id, where it has one."""
        ref = self.plan.base_model
        if ref == EMBEDDED:
            return _EMBEDDED_ID
        return ref if _HUB_ID.fullmatch(ref) and not Path(ref).exists() else None

    @cached_property
    def base_licence(self) -> str:
        """As our catalogue or the base's own card says."""
        ref = self.plan.base_model
        listed = next((entry.licence for entry in catalogue() if entry.ref == ref), "")
        return listed or _licence_beside(Path(ref)) or NOT_STATED

    @cached_property
    def data_licence(self) -> str:
        """As a card beside the data says, in Hugging Face's format."""
        return _licence_beside(self.plan.data.path) or NOT_STATED

    @property
    def prompts(self) -> list[tuple[str, PromptVersion]]:
        """The prompt that it answers with, the one it was trained with where that is another, and those compared."""
        found = [("The result answers with this prompt", self.prompt)]
        if self.plan.prompt.id != self.prompt.id:
            found.append(("It was started from this prompt", self.plan.prompt))
        return found + [(f"Measured with the base: {name}", version) for name, version in self._compared()]

    def _compared(self) -> list[tuple[str, PromptVersion]]:
        known = {self.prompt.id, self.plan.prompt.id}
        return [(name, v) for name, v in self.plan.evaluation.prompts.items() if v.id not in known]

    # What it took

    @property
    def train_seconds(self) -> float:
        return self.report.train_seconds if self.report else self.status.train_seconds

    @property
    def energy(self) -> Known:
        if self.counted is None:
            why = "nobody counted while it trained" if self.plan.strategy.trains else "nothing was trained"
            return Known(None, "", why)
        if self.counted.kwh is None:
            return Known(None, "", _low(self.counted.why))
        return Known(self.counted.kwh, f"{_figure(self.counted.kwh)} kWh, by {self.counted.source}")

    @property
    def carbon(self) -> Known:
        """Grams of CO2 equivalent: energy times what the person says of their electricity."""
        energy, grams = self.energy, self.rates.grams_per_kwh
        if energy.value is None:
            return Known(None, "", "it follows from the energy, which was not measured")
        if grams is None:
            return Known(None, "", "set TUNEWRIGHT_GRID_G_PER_KWH to the grams of CO2 for a kWh where you are")
        value = energy.value * grams
        return Known(value, f"{_figure(value)} g CO2 equivalent, at {grams:g} g for a kWh as you said")

    @property
    def cost(self) -> Known:
        """Hours of training times what the person says an hour costs."""
        if not self.train_seconds:
            return Known(None, "", "nothing was trained")
        if self.rates.cost_per_hour is None:
            return Known(None, "", "set TUNEWRIGHT_COST_PER_HOUR to what an hour of this machine costs")
        hours = self.train_seconds / 3600
        value = hours * self.rates.cost_per_hour
        return Known(value, f"{value:.2f}, for {_figure(hours)} h at {self.rates.cost_per_hour:g} an hour as you said")


def gather(run: RunFolder, rates: Rates = NOTHING_SAID) -> Facts:
    """Read a run's files. Raises `PlanError` without its plan; what else is missing is simply not known."""
    rows = {name: _count(run.path / "data" / f"{name}.jsonl") for name in SPLITS}
    return Facts(
        run_id=run.id,
        name=run.name,
        plan=run.plan(),
        status=run.written_status(),
        report=run.report(),
        predictions=run.predictions(),
        metrics=run.metrics(),
        spec=run.spec(),
        prompt=run.result_prompt(),
        rows={name: count for name, count in rows.items() if count is not None},
        counted=read_energy(run.path / "energy.json"),
        rates=rates,
    )


def shared_plan(plan: TrainingPlan) -> dict[str, Any]:
    """The plan for others to read: of paths only the last part, as the rest tells of the person's machine."""

    def without_folders(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_folders(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [without_folders(inner) for inner in value]
        return named(value) if isinstance(value, str) else value

    raw: dict[str, Any] = without_folders(plan.model_dump(mode="json", exclude_none=True))
    raw.pop("prompt", None)  # it has a place of its own, with its text
    raw.get("evaluation", {}).pop("prompts", None)
    return raw


def named(text: str) -> str:
    """The last part of an absolute path; anything else as it is."""
    return Path(text).name or text if "\n" not in text and Path(text).is_absolute() else text


def outcome(prediction: Prediction) -> str:
    """Of one row: failed (the tuned model gave no answer), lost, won or same."""
    if prediction.tuned_failed:
        return "failed"
    gain = prediction.tuned_score - prediction.base_score
    return "won" if gain > 0 else "lost" if gain < 0 else "same"


def better(figure: Figure) -> str:
    """How a figure's change reads: better, worse, or cannot tell; empty where there is none to read."""
    change = figure.change
    if change is None:
        return ""
    if change.verdict == "cannot tell":
        return "no clear change"
    return "better" if (change.difference > 0) != figure.less_is_better else "worse"


def three_sentences(facts: Facts) -> list[str]:
    """What was done, what came out, and how the checks went: what a manager reads first."""
    report = facts.report
    if report is None:
        return [_done(facts), "Its answers were not measured: there is no report of this run yet."]
    change = report.comparison
    chance = {
        "better": "That is more than chance would give",
        "worse": "That is a loss, and more than chance would take",
        "cannot tell": "That may be chance",
    }
    came = (
        f"On {report.tuned.n:,} rows that it had never seen, {report.metric} went from {report.base.value:.0%}, as the "
        f"untouched base has it, to {report.tuned.value:.0%}. {chance[change.verdict]}: the change is "
        f"{change.difference * 100:+.0f} points, with a 95 % interval from {change.low * 100:+.0f} to "
        f"{change.high * 100:+.0f}."
    )
    return [_done(facts), came, _checks(facts)]


def _done(facts: Facts) -> str:
    report = facts.report
    purpose = f" for this task: {facts.task.rstrip('.')}" if facts.task else ""
    if not facts.plan.strategy.trains:
        return f"The model {facts.base} was given another prompt{purpose}; nothing was trained."
    rows = report.train_rows if report else facts.rows.get("train", 0)
    took = f" in {duration(facts.train_seconds)}" if facts.train_seconds else ""
    return f"The model {facts.base} was trained on {rows:,} rows{took}{purpose}."


def _checks(facts: Facts) -> str:
    gates = [gate for _, gate in facts.gates]
    if not gates:
        return "Overfitting, lost abilities and bias were not measured for this run."
    by_level = {level: [gate.name for gate in gates if gate.level == level] for level in LEVELS}
    told = [f"{len(by_level['passed'])} of {len(gates)} checks passed"]
    words_of: dict[Level, str] = {"failed": "failed", "warning": "asks for a look", "unknown": "could not be answered"}
    for level, words in words_of.items():
        if names := by_level[level]:
            many = words.replace("asks", "ask") if len(names) > 1 else words
            told.append(f"{len(names)} {many} ({', '.join(names)})")
    return "; ".join(told) + "."


def shown(value: float, unit: Unit, *, signed: bool = False) -> str:
    """A figure as it is told: shares in per cent, their changes in points; others with three digits."""
    if unit == "share":
        whole = round(value * 100)  # an integer, so that no zero has a sign
        return f"{whole:+d} points" if signed else f"{whole}%"
    if abs(value) >= 1000:
        return f"{value:+,.0f}" if signed else f"{value:,.0f}"
    return f"{value:+.3g}" if signed else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _figure(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _low(sentence: str) -> str:
    """A sentence to stand within another."""
    first = sentence.split(" ", 1)[0]
    kept = sentence if first.isupper() and len(first) > 1 else sentence[:1].lower() + sentence[1:]
    return kept.rstrip(".")


def _count(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    except OSError:
        return None


def _licence_beside(path: Path) -> str:
    """What the head of a Hugging Face card says, of a folder or of the folder of a file."""
    if not path.exists():
        return ""
    try:
        text = ((path if path.is_dir() else path.parent) / "README.md").read_text("utf-8")[:20_000]
    except (OSError, UnicodeDecodeError):
        return ""
    head = text.split("---", 2)[1] if text.startswith("---") and text.count("---") > 1 else ""
    found = _SPDX.search(head)
    return found[1] if found else ""
