"""Scoring answers, and saying how sure a score is.

Owns the metrics by name and which one fits a task. A row's score is in `answers`, figures in `metric`, intervals and
tests in `certainty`. To add a metric, write its row score and name it here.
"""

from __future__ import annotations

from prompts.metrics.answers import bleu, chrf, exact_match, field_f1, json_match, rouge_l, token_f1, valid_json
from prompts.metrics.certainty import Comparison, Score, Verdict, compare, holm, summarize
from prompts.metrics.metric import Metric, macro_f1, micro_field_f1
from prompts.spec import MetricName, OutputFormat

__all__ = [
    "COMPANIONS",
    "METRICS",
    "Comparison",
    "Metric",
    "Score",
    "Verdict",
    "chrf",
    "compare",
    "exact_match",
    "field_f1",
    "holm",
    "json_match",
    "metric_for",
    "rouge_l",
    "summarize",
    "token_f1",
]

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("exact match", exact_match),  # of labels this is accuracy
        macro_f1("macro-F1", exact_match),
        micro_field_f1("field F1"),
        Metric("JSON match", json_match),
        Metric("valid JSON", valid_json),
        Metric("chrF", chrf),
        Metric("ROUGE-L", rouge_l),
        Metric("BLEU", bleu),
        Metric("token F1", token_f1),
    )
}

# What the person asked for, in the words of the spec, by the shape of the answers.
_WANTED: dict[OutputFormat, dict[MetricName, str]] = {
    "label": {"accuracy": "exact match", "exact_match": "exact match", "macro_f1": "macro-F1", "f1": "macro-F1"},
    "json": {"accuracy": "JSON match", "exact_match": "JSON match", "f1": "field F1", "macro_f1": "field F1"},
    "text": {
        "accuracy": "exact match", "exact_match": "exact match", "f1": "token F1", "rouge": "ROUGE-L", "bleu": "BLEU",
        "chrf": "chrF",
    },
}  # fmt: skip
_USUAL: dict[OutputFormat, str] = {"label": "exact match", "json": "field F1", "text": "chrF"}
# What is told beside a metric: each looks at the same answers from another side.
COMPANIONS: dict[OutputFormat, tuple[str, ...]] = {
    "label": ("exact match", "macro-F1"),
    "json": ("field F1", "JSON match", "valid JSON"),
    "text": ("chrF", "ROUGE-L", "exact match"),
}


def metric_for(output_format: OutputFormat | None, wanted: MetricName | None = None) -> str:
    """The name of the metric for answers of this shape: the wanted one where it fits them, else the usual one."""
    shape = output_format or "label"
    return _WANTED[shape].get(wanted, _USUAL[shape]) if wanted else _USUAL[shape]
