"""The model card in Hugging Face's format: metadata with the measured figures, then the text.

Owns the metadata and the template's filters. Holds no row of the data, as a card is made to be shown; prompts stand in
it with their examples. Never asks the network (`ModelCard.validate` would).
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import yaml

from trainers.cards import facts as known
from trainers.cards.facts import Facts
from trainers.cards.sections import prompt_text
from trainers.evaluation.records import Figure

# Our metrics by the ids that Hugging Face's evaluate library has, where it has one.
_METRICS = {
    "exact match": "exact_match",
    "macro-F1": "f1",
    "field F1": "f1",
    "token F1": "f1",
    "chrF": "chrf",
    "ROUGE-L": "rouge",
    "BLEU": "bleu",
}
_TASKS = {
    "classification": "text-classification",
    "translation": "translation",
    "summarization": "summarization",
    "question_answering": "question-answering",
}


def render(facts: Facts) -> str:
    """The card's whole text. Metadata that does not hold together raises ValueError, as huggingface_hub checks it."""
    from huggingface_hub import ModelCard
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cell": cell, "fenced": fenced}
    template = environment.from_string(files(__package__).joinpath("card.md.jinja").read_text("utf-8"))
    text = template.render(
        metadata=metadata(facts),
        facts=facts,
        report=facts.report,
        title=facts.task or facts.name,
        summary=known.three_sentences(facts),
        parts=facts.parts,
        groups=known.GROUPS,
        levels=known.LEVELS,
        figure=_figure_cells,
        plan=yaml.safe_dump(known.shared_plan(facts.plan), sort_keys=False, allow_unicode=True, width=100),
        prompts=[(title, version.id, prompt_text(version)) for title, version in facts.prompts],
        splits=facts.rows,
        duration=known.duration,
    )
    card = ModelCard(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")  # parses the metadata, and refuses what is broken
    return str(card)


def metadata(facts: Facts) -> str:
    """The YAML between the dashes: what the hub reads. Only hub ids stand in it, never a folder of this machine."""
    from huggingface_hub import ModelCardData

    spec, strategy = facts.spec, facts.plan.strategy
    language = spec.language if spec and re.fullmatch(r"[a-z]{2,3}", spec.language or "") else None
    data = ModelCardData(
        base_model=facts.base_id,
        language=language,
        library_name={"adapter": "peft", "model": "transformers"}.get(strategy.form),
        pipeline_tag="text-generation",
        tags=["tunewright", strategy.type, facts.plan.objective.type],
        model_name=facts.name,
        eval_results=_results(facts),
    )
    return str(data.to_yaml())


def _results(facts: Facts) -> list[Any] | None:
    """The tuned model's figure on the test rows, as the hub's model-index has it."""
    from huggingface_hub import EvalResult

    report = facts.report
    if report is None:
        return None
    task = _TASKS.get(facts.spec.task or "" if facts.spec else "", "text-generation")
    return [
        EvalResult(
            task_type=task,
            dataset_type="private",
            dataset_name=facts.plan.data.path.name,
            dataset_split="test",
            metric_type=_METRICS.get(report.metric, report.metric.lower().replace(" ", "_").replace("-", "_")),
            metric_name=f"{report.metric} (n={report.tuned.n}, 95 % {report.tuned.low:.3f} to {report.tuned.high:.3f})",
            metric_value=round(report.tuned.value, 4),
        )
    ]


def _figure_cells(figure: Figure) -> list[str]:
    """Name, base, tuned and change of a figure, as a line of the table."""
    arms = [
        f"{told(s.value, figure)} ({told(s.low, figure)} to {told(s.high, figure)}, n={s.n})" if s else "not measured"
        for s in (figure.base, figure.tuned)
    ]
    change, moved = figure.change, "not measured"
    if change:
        low, high = (told(v, figure, signed=True).removesuffix(" points") for v in (change.low, change.high))
        moved = (
            f"{told(change.difference, figure, signed=True)} ({low} to {high}, n={change.n}), {known.better(figure)}"
        )
    return [figure.name, *arms, moved]


def told(value: float, figure: Figure, *, signed: bool = False) -> str:
    """A value in the unit of a figure."""
    return known.shown(value, figure.unit, signed=signed)


def cell(text: str) -> str:
    """A text within a line or a cell of a Markdown table: no line ends, no bars, no tags."""
    plain = " ".join(str(text).split())
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
