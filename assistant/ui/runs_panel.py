"""The table of runs: what each was, scored and takes; named, shown, resumed, deleted; two or more laid over each other.

Owns the table and the comparison. Which runs are compared is kept here for each project, until the app ends.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk, guarded
from prompts.errors import DataError, TunewrightError
from trainers import jobs
from trainers.comparing import curves, differences
from trainers.evaluation.records import EvaluationReport
from trainers.paths import size_of
from trainers.status import RunFolder, RunStatus

# Asks for a name, and before a deletion, in the browser.
_LISTEN = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-key]');
  if (!button) return;
  const act = button.dataset.key.split(':')[0];
  let text = '';
  if (act === 'rename') {
    text = window.prompt('Name of this run', button.dataset.name);
    if (text === null) return;
  }
  if (act === 'delete' && !window.confirm('Delete this run with all its files? This cannot be undone.')) return;
  trigger('click', {key: button.dataset.key, text: text});
});
"""
_DONE = {"done": "good", "failed": "error", "cancelled": "warning"}


class RunsPanel:
    """All runs of a project."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._compared: dict[str, tuple[str, ...]] = {}
        self._table = gr.HTML(elem_id="runs", js_on_load=_LISTEN)
        self._differences = gr.HTML(elem_id="run-differences")
        self._curves = gr.LinePlot(x="step", y="loss", color="run", height=280, visible=False, title="Loss, overlaid")
        with (
            gr.Accordion("Bring an adapter that was trained elsewhere", open=False, elem_id="import-adapter"),
            gr.Row(),
        ):
            self._path = gr.Textbox(
                label="Its folder on this machine", placeholder="/home/me/adapters/mine", scale=4, elem_id="import-path"
            )
            take = gr.Button("Check and take it", scale=1, min_width=140, elem_id="import-take")
        self.outputs: list[Any] = [self._table, self._differences, self._curves]
        id = desk.project_id
        # Two runs are picked in one go: the second click may come before the first is through.
        desk.then_redraw(self._table.click(guarded(self._act), [id], None, trigger_mode="multiple"))
        desk.then_redraw(take.click(guarded(self._import), [id, self._path], None))

    def _import(self, id: str, path: str) -> None:
        if not path.strip():
            raise DataError("There is nothing to take.", hint="Name the folder with adapter_config.json.")
        run = self._desk.pipeline.import_adapter(id, Path(path.strip()))
        self._desk.conversation.note(id, f"I compare the adapter as run `{run.id}` with the base.", ())

    def _act(self, id: str, event: gr.EventData) -> None:
        act, _, run_id = str(event._data["key"]).partition(":")
        pipeline = self._desk.pipeline
        if act == "rename":
            pipeline.rename_run(id, run_id, str(event._data["text"]))
        elif act == "delete":
            pipeline.delete_run(id, run_id)
        elif act == "resume":
            pipeline.resume_training(id, run_id)
        elif act == "show":
            pipeline.show_run(id, run_id)
            pipeline.go_to(id, "Report")
        else:
            before = self._compared.get(id, ())
            self._compared[id] = (
                tuple(one for one in before if one != run_id) if run_id in before else (*before, run_id)
            )

    def signature(self, project: Project) -> Hashable:
        runs = self._desk.pipeline.runs(project)
        states = tuple((run.id, run.name, *_state(jobs.status(run))) for run in runs)
        return (states, project.shown_run, self._compared.get(project.id))

    def draw(self, project: Project) -> list[Any]:
        runs = self._desk.pipeline.runs(project)
        hidden = gr.update(visible=False)
        if not runs:
            return ["", "", hidden]
        chosen = [run for run in runs if run.id in self._compared.get(project.id, ())]
        shown = self._desk.pipeline.tuned_run(project)
        table = _table(runs, {run.id for run in chosen}, shown.id if shown else "")
        if len(chosen) < 2:
            return [table, "", hidden]
        points = pd.DataFrame(
            [(f"{p.run}, {p.split}", p.step, p.loss) for p in curves(chosen)], columns=["run", "step", "loss"]
        )
        return [table, _differing(chosen), gr.update(value=points, visible=len(points) > 0)]


def _state(status: RunStatus) -> tuple[str, float]:
    """What of a status the table shows: while it trains, in tenths."""
    return status.state, round(status.fraction, 1)


def _table(runs: Sequence[RunFolder], compared: set[str], shown: str) -> str:
    head = "".join(f"<th>{title}</th>" for title in ("Run", "How", "State", "Score", "Disk", ""))
    return f'<div class="tw-scroll"><table class="tw-runs"><tr>{head}</tr>' + "".join(
        _row(run, run.id in compared, run.id == shown) for run in runs
    ) + "</table></div>"  # fmt: skip


def _row(run: RunFolder, compared: bool, shown: bool) -> str:
    status, report = jobs.status(run), run.report()
    try:
        plan = run.plan()
        how = f"{plan.strategy.brief}<br><small>{escape(plan.objective.title)}</small>"
    except TunewrightError as error:
        how = f"<small>{escape(error.message)}</small>"
    score = _score(report) if report else ""
    state = status.state if status.state != "running" else f"{status.phase} {status.fraction:.0%}"
    cells = (
        f"<b>{escape(run.name)}</b>{' <small>shown</small>' if shown else ''}",
        how,
        f'<span class="tw-badge tw-{_DONE.get(status.state, "info")}">{escape(state)}</span>',
        score,
        f"{size_of(run.path) / 1e6:.1f} MB",
        _buttons(run, status, compared=compared, shown=shown),
    )
    return f'<tr data-run="{escape(run.id)}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _score(report: EvaluationReport) -> str:
    scores = f"{report.base.value:.0%} → <b>{report.tuned.value:.0%}</b>"
    return f"{scores}<br><small>{report.comparison.verdict}, n={report.tuned.n}</small>"


def _buttons(run: RunFolder, status: RunStatus, *, compared: bool, shown: bool) -> str:
    acts = [("compare", "Compared" if compared else "Compare"), ("rename", "Rename")]
    if run.has_result and not shown:
        acts.insert(0, ("show", "Show"))
    if status.state in ("failed", "cancelled"):
        acts.insert(0, ("resume", "Resume"))
    if status.state in _DONE:
        acts.append(("delete", "Delete"))
    return "".join(
        f'<button type="button" class="tw-pick{" tw-picked" if compared and act == "compare" else ""}" '
        f'data-key="{act}:{escape(run.id)}" data-name="{escape(run.name)}">{title}</button>'
        for act, title in acts
    )


def _differing(runs: Sequence[RunFolder]) -> str:
    """Where the plans differ, a line a key."""
    found = differences([run.plan() for run in runs])
    if not found:
        return html.notes([("info", "These runs follow the same plan.")])
    head = "".join(f"<th>{escape(run.name)}</th>" for run in runs)
    rows = "".join(
        f"<tr><td><code>{escape(row.key)}</code></td>" + "".join(f"<td>{escape(v)}</td>" for v in row.values) + "</tr>"
        for row in found
    )
    return f'<div class="tw-scroll"><table class="tw-runs"><tr><th>Plan</th>{head}</tr>{rows}</table></div>'
