"""The Report panel: the verdict first, then the checks with their remedies, then the figures, then the rows.

Owns the order of its parts and what its buttons call. The sections are those of the printable page (`trainers.cards`).
Refuses to measure and to word.
"""

from __future__ import annotations

from collections.abc import Hashable
from html import escape
from typing import Any

import gradio as gr

from assistant.project import Project
from assistant.ui import html
from assistant.ui.export_box import ExportBox
from assistant.ui.findings import LISTEN
from assistant.ui.panel import Desk, Panel, guarded
from assistant.ui.report_files import ReportFiles
from assistant.ui.report_progress import ReportProgress
from assistant.ui.watch_box import WatchBox
from prompts.errors import RunError
from trainers import jobs
from trainers.cards import sections
from trainers.cards.facts import Facts, gather
from trainers.cards.page import style
from trainers.energy import Rates
from trainers.evaluation.records import Remedy
from trainers.status import ENDED, RunFolder

_NOTHING = "The report comes at the end of a training."


class ReportPanel:
    """Whether it really got better. `parts` are drawn by themselves, as they change while the rest stands still."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._head = gr.HTML(elem_id="report-head", js_on_load=LISTEN)
        with gr.Row(elem_id="report-acts"):
            self._compare = gr.Button("Compare side by side", variant="primary", visible=False, min_width=150)
            self._examine = gr.Button("Examine now", visible=False, elem_id="report-examine", min_width=130)
        progress = ReportProgress(desk)
        self._body = gr.HTML(elem_id="report-body")
        self._files = ReportFiles()
        with gr.Accordion("Take it out: export", open=False, elem_id="report-export"):
            export = ExportBox(desk)
        with gr.Accordion("Watch what comes in", open=False, elem_id="report-watch"):
            watch = WatchBox(desk)
        self.parts: tuple[Panel, ...] = (progress, export, watch)
        self.outputs: list[Any] = [self._head, self._compare, self._examine, self._body, *self._files.outputs]
        id = desk.project_id
        desk.then_redraw(self._head.click(guarded(self._take), [id], None))
        desk.then_redraw(self._compare.click(guarded(self._go_on), [id], None))
        desk.then_redraw(self._examine.click(guarded(self._examine_now), [id], None))

    def _go_on(self, id: str) -> None:
        self._desk.pipeline.go_to(id, "Compare")

    def _examine_now(self, id: str) -> None:
        run = self._desk.pipeline.examine(id)
        self._desk.conversation.note(id, f"I examine the result of run `{run.name}`.", ())

    def _take(self, id: str, event: gr.EventData) -> None:
        """Make a remedy the plan. The button names the run, the check and the remedy by their places."""
        run_id, gate, place = str(event._data["key"]).split(":")
        pipeline = self._desk.pipeline
        remedy = remedy_at(self._facts(pipeline.run_of(id, run_id)), int(gate), int(place))
        with pipeline.undoable(id):
            pipeline.take_remedy(id, remedy)
        self._desk.conversation.note(
            id, f"From the Report panel: the plan is now that of the run, with this change: {remedy.title}.",
            ("Start training",),
        )  # fmt: skip

    def _facts(self, run: RunFolder) -> Facts:
        return gather(run, self._rates)

    @property
    def _rates(self) -> Rates:
        return self._desk.pipeline.settings.rates

    def signature(self, project: Project) -> Hashable:
        run = self._desk.pipeline.tuned_run(project)
        if run is None:
            return None
        written = tuple(_written(run, name) for name in ("evaluation.json", "energy.json", "spec.json"))
        return (run.id, run.name, written, jobs.status(run).state in ENDED)

    def draw(self, project: Project) -> list[Any]:
        run = self._desk.pipeline.tuned_run(project)
        hidden = gr.update(visible=False)
        if run is None:
            return [html.empty(_NOTHING), hidden, hidden, "", *self._files.hidden()]
        ended, facts = jobs.status(run).state in ENDED, self._facts(run)
        examined = facts.report is not None and facts.report.verdict is not None
        examine = gr.update(visible=ended, value="Examine again" if examined else "Examine now")
        if facts.report is None:
            return [html.empty(_NOTHING), gr.update(visible=ended), examine, "", *self._files.hidden()]
        files = self._files.of(run, self._rates)
        return [_head(facts), gr.update(visible=True), examine, _body(facts), *files]


def _written(run: RunFolder, name: str) -> float:
    """When one of its files was written; 0 where there is none."""
    try:
        return (run.path / name).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def remedy_at(facts: Facts, gate: int, place: int) -> Remedy:
    """A check's remedy by their places. Raises `RunError` where the report is another by now."""
    try:
        return facts.gates[gate][1].remedies[place]
    except IndexError:
        raise RunError("The report has changed meanwhile.", hint="Look at it again.") from None


def _head(facts: Facts) -> str:
    def button(gate: int, place: int, remedy: Remedy) -> str:
        key = f"{facts.run_id}:{gate}:{place}"
        return f'<button type="button" data-key="{escape(key)}">Make this plan</button>'

    return _framed(sections.verdict(facts), sections.gates(facts, button))


def _body(facts: Facts) -> str:
    return _framed(
        sections.scores(facts),
        sections.mistakes(facts),
        sections.confidence(facts),
        sections.learning(facts),
        sections.probes(facts, folded=True),
        sections.rows(facts, filters=True),
        sections.limits(facts),
        sections.basis(facts),
    )


def _framed(*parts: str) -> str:
    """Sections with their style, which the page has too."""
    return f'<style>{style()}</style><div class="rp">{"".join(parts)}</div>'
