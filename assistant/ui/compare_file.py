"""Whole file: a table of inputs through all who are compared, in the background, and the table of what came.

Owns the controls, the tiles and the downloads. Refuses to ask and to score (`arena.batch`).
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
import pandas as pd

from assistant.arena.batch import Batch
from assistant.arena.table import ArmSummary, BatchTable
from assistant.project import Project
from assistant.ui import html
from assistant.ui.compare_arms import LETTERS, NOBODY
from assistant.ui.panel import Desk, guarded
from prompts.errors import DataError
from trainers.reading import SUFFIXES

_WIDTHS = {"row": "56px", "differ": "76px", "input": "180px", "expected": "100px", "score": "62px"}
_SHOWN = 2000  # rows; the downloads have all
_WHAT = "Every row goes through all who are compared. Where the file has an answer column, each is scored by it."


class FilePanel:
    """Upload, progress, tiles, table, downloads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._downloads = TemporaryDirectory(prefix="tunewright-")  # Gradio serves files from there
        with gr.Row():
            self._file = gr.File(
                label="A table of inputs", file_types=list(SUFFIXES), height=150, scale=3,
                elem_id="batch-file",
            )  # fmt: skip
            with gr.Column(scale=2, min_width=220):
                self._start = gr.Button("Take the rows kept for this", elem_id="batch-arena")
                self._stop = gr.Button("Stop", elem_id="batch-stop", interactive=False)
        self._progress = gr.HTML(elem_id="batch-progress")
        self._table = gr.Dataframe(
            interactive=False, wrap=True, max_height=460, show_search="search", visible=False, elem_id="batch-table"
        )
        with gr.Row():
            self._csv = gr.DownloadButton("Download as CSV", visible=False, elem_id="batch-csv")
            self._jsonl = gr.DownloadButton("Download as JSONL", visible=False, elem_id="batch-jsonl")
        self.outputs: list[Any] = [self._start, self._stop, self._progress, self._table, self._csv, self._jsonl]
        id = desk.project_id
        desk.then_redraw(self._file.upload(guarded(self._take), [id, self._file], self._file))
        desk.then_redraw(self._start.click(guarded(self._arena), [id], None))
        desk.then_redraw(self._stop.click(guarded(self._end), [id], None))

    def _take(self, id: str, path: str) -> None:
        self._begin(id, Path(path))

    def _arena(self, id: str) -> None:
        self._begin(id, None)

    def _begin(self, id: str, path: Path | None) -> None:
        job = self._desk.pipeline.files.get(id)
        if job and job.running:
            raise DataError("Another file is on its way.", hint="Wait for it, or stop it.")
        self._desk.pipeline.start_file(id, path)

    def _end(self, id: str) -> None:
        if job := self._desk.pipeline.files.get(id):
            job.stop()

    def signature(self, project: Project) -> Hashable:
        job = self._desk.pipeline.files.get(project.id)
        state = (id(job), job.running, job.done, job.message, job.error) if job else None
        return (project.data is None, state)

    def draw(self, project: Project) -> list[Any]:
        job = self._desk.pipeline.files.get(project.id)
        busy, hidden = bool(job and job.running), gr.update(visible=False)
        buttons = [
            gr.update(interactive=project.data is not None and not busy),
            gr.update(interactive=busy),
        ]
        if job is None:
            told = html.empty(_WHAT if project.data else NOBODY)
            return [*buttons, told, hidden, hidden, hidden]
        if busy or not job.table or not job.table.rows:
            return [*buttons, _progress(job), hidden, hidden, hidden]
        return [*buttons, _progress(job) + _tiles(job.table), *self._shown(project.id, job.table)]

    def _shown(self, id: str, table: BatchTable) -> list[Any]:
        """The rows, those first where the answers differ most, and the same as files."""
        ordered = table.sorted_by("disagreement", descending=True)
        folder = Path(self._downloads.name) / id
        folder.mkdir(exist_ok=True)
        for name, text in (("answers.csv", table.to_csv()), ("answers.jsonl", table.to_jsonl())):
            (folder / name).write_text(text, "utf-8", newline="")
        files = [gr.update(value=str(folder / name), visible=True) for name in ("answers.csv", "answers.jsonl")]
        return [_frame(ordered), *files]


def _progress(job: Batch) -> str:
    if job.error:
        return html.notes([("error", job.error)])
    left = f"about {html.duration(job.seconds_left)} left" if job.seconds_left else ""
    if job.running:
        return html.progress(job.done / max(1, job.total), job.message or "Beginning", left)
    return html.notes([("good" if job.done == job.total else "warning", job.message or job.progress)])


def _tiles(table: BatchTable) -> str:
    cards = html.cards(
        (
            letter,
            arm.title,
            "",
            [("tokens, mean", f"{arm.tokens:,.1f}"), ("failed", f"{arm.failures:,} of {len(table.rows):,} rows")],
            "",
        )
        for letter, arm in zip(LETTERS, table.arms, strict=False)
    )
    scored = [_bar(arm.title, arm) for arm in table.arms if arm.score]
    missing = [("warning", f"{table.missing:,} rows were not asked before it was stopped.")] if table.missing else []
    title = html.heading(table.metric) if scored else ""
    cut = [("info", f"The table shows {_SHOWN:,} of {len(table.rows):,} rows.")] if len(table.rows) > _SHOWN else []
    return html.notes(missing) + title + (html.intervals(scored) if scored else "") + cards + html.notes(cut)


def _bar(title: str, arm: ArmSummary) -> tuple[str, float, float, float, str]:
    assert arm.score is not None
    return title, arm.score.value, arm.score.low, arm.score.high, str(arm.score)


def _frame(table: BatchTable) -> Any:
    """What a person looks at: how far the answers are apart, the texts, and the scores; errors in place of answers."""
    rows = table.rows[:_SHOWN]
    columns: dict[str, list[Any]] = {
        "row": [row.number for row in rows],
        "differ": [round(row.disagreement, 2) for row in rows],
        "input": [row.input for row in rows],
    }
    if any(row.expected for row in rows):
        columns["expected"] = [row.expected for row in rows]
    for index, (letter, arm) in enumerate(zip(LETTERS, table.arms, strict=False)):
        cells = [row.cells[index] for row in rows]
        columns[f"{letter} {arm.title}"] = [f"⚠ {cell.error}" if cell.error else cell.answer.text for cell in cells]
        if table.metric:
            columns[f"{letter} score"] = [cell.score for cell in cells]
    widths = [_WIDTHS.get(name.split()[-1], "150px") for name in columns]
    return gr.update(value=pd.DataFrame(columns), column_widths=widths, visible=True)
