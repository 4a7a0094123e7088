"""The Report panel: the verdict first, then the figures, then the rows."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import gradio as gr
import pandas as pd

from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from trainers.status import EvaluationReport, Prediction

_VERDICTS = {
    "better": ("good", "Yes, it really got better."),
    "worse": ("error", "It got worse. Do not use this adapter."),
    "cannot tell": ("warning", "Cannot tell: the difference may be chance. More held-out rows would help."),
}


class ReportPanel:
    """Base against tuned on the held-out rows."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._verdict = gr.HTML()
        self._labels = gr.HTML()
        self._rows = gr.Dataframe(
            interactive=False, wrap=True, max_height=420, visible=False, label="Rows",
            column_widths=["10%", "34%", "13%", "30%", "13%"],
        )  # fmt: skip
        self._compare = gr.Button("Compare side by side", variant="primary", visible=False)
        self.outputs: list[Any] = [self._verdict, self._labels, self._rows, self._compare]
        desk.then_redraw(self._compare.click(guarded(self._go_on), [desk.project_id], None))

    def _go_on(self, id: str) -> None:
        self._desk.pipeline.go_to(id, "Compare")

    def signature(self, project: Project) -> Hashable:
        run = self._desk.pipeline.tuned_run(project)
        return (run and run.id, (run.path / "evaluation.json").exists() if run else False)

    def draw(self, project: Project) -> list[Any]:
        run = self._desk.pipeline.tuned_run(project)
        report = run.report() if run else None
        hidden = gr.update(visible=False)
        if run is None or report is None:
            return [html.empty("The report comes at the end of a training."), "", hidden, hidden]
        rows = _rows(run.predictions())
        labels = [(f"{s.label} (n={s.n})", s.base, s.tuned) for s in report.labels]
        return [
            _summary(report, run.id),
            html.paired("Score for each expected label", "base", "tuned", labels) if labels else "",
            gr.update(value=rows, visible=True),
            gr.update(visible=True),
        ]


def _summary(report: EvaluationReport, run_id: str) -> str:
    change = report.comparison
    bars = html.intervals(
        [
            ("Base", report.base.value, report.base.low, report.base.high, str(report.base)),
            ("Tuned", report.tuned.value, report.tuned.low, report.tuned.high, str(report.tuned)),
        ]
    )
    figures = [
        (f"{report.metric}, tuned minus base, in points", f"{change.difference * 100:+.0f}"),
        ("95 % interval of the difference", f"{change.low * 100:+.0f} to {change.high * 100:+.0f}"),
        ("held-out rows", str(change.n)),
        ("training time", html.duration(report.train_seconds)),
        ("peak memory", f"{report.peak_memory_gb:.1f} GB"),
    ]
    basis = (
        f"Run {run_id} on {report.base_model}: {report.train_rows} rows, {report.train_tokens:,} tokens. Both arms "
        f"answered the same rows with prompt version {report.prompt_id}, greedy. Split seed {report.seed}, paired "
        f"permutation test p = {change.p_value:.2g}."
    )
    return html.notes([_VERDICTS[change.verdict]]) + bars + html.tiles(figures) + html.notes([("info", basis)])


def _rows(predictions: list[Prediction]) -> pd.DataFrame:
    """Rows that training lost first, then those it won, then the rest."""
    ordered = sorted(predictions, key=lambda p: (p.tuned_score >= p.base_score, p.tuned_score == p.base_score))
    outcome = {1: "won", -1: "lost", 0: "same"}
    table = [
        (outcome[(p.tuned_score > p.base_score) - (p.tuned_score < p.base_score)], p.input, p.expected, p.base, p.tuned)
        for p in ordered
    ]
    return pd.DataFrame(table, columns=["outcome", "input", "expected", "base", "tuned"])
