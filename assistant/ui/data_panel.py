"""The Data panel: a file, its columns, what is in it, what would spoil a training, and three rows as the model sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
import pandas as pd

from assistant.project import Project
from assistant.ui import html
from assistant.ui.panel import Desk
from trainers.data import Mapping
from trainers.reading import SUFFIXES, Table

_BINS = 12


class DataPanel:
    """Upload, mapping, profile and preview."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._downloads = TemporaryDirectory(prefix="tunewright-")  # Gradio serves files from there
        with gr.Row(equal_height=True):
            self._file = gr.File(
                label="CSV, JSON, Excel or Parquet",
                file_types=list(SUFFIXES),
                height=120,
                elem_id="data-file",
            )
            with gr.Column():
                self._input = gr.Dropdown([], label="Column that goes in", interactive=True)
                self._output = gr.Dropdown([], label="Column with the answer", interactive=True)
        self._summary = gr.HTML()
        self._aside = gr.DownloadButton("Download what could not be read", visible=False, size="sm")
        with gr.Row():
            self._labels = gr.BarPlot(x="rows", y="label", title="Rows for each label", height=240, visible=False)
            self._lengths = gr.BarPlot(
                sort=None, x="tokens", y="rows", title="Row length in tokens (bins from)", height=240, visible=False
            )
        with gr.Accordion("Three rows, exactly as the model will see them", open=False):
            self._seen = gr.HTML()
        with gr.Accordion("The first rows of the file", open=False):
            self._rows = gr.Dataframe(interactive=False, wrap=True, max_height=300)
        self.outputs: list[Any] = [
            self._input, self._output, self._summary, self._aside, self._labels, self._lengths, self._seen, self._rows
        ]  # fmt: skip
        desk.then_redraw(self._file.upload(desk.edits(self._take), [desk.project_id, self._file], None))
        for column in (self._input, self._output):
            columns = [desk.project_id, self._input, self._output]
            desk.then_redraw(column.input(desk.edits(self._map), columns, None))

    def _take(self, id: str, path: str) -> None:
        project = self._desk.pipeline.add_file(id, Path(path))
        assert project.data is not None
        told = f"From the Data panel: **{project.data.name}**, {project.data.columns.told}."
        self._desk.conversation.note(id, told, ("Measure the prompt", "What do you advise?"))

    def _map(self, id: str, input: str, output: str) -> None:
        columns = Mapping(input=input, output=output)
        self._desk.pipeline.set_columns(id, columns)
        self._desk.conversation.note(id, f"From the Data panel: {columns.told}.")

    def signature(self, project: Project) -> Hashable:
        prompt = project.prompt.id if project.prompt else None
        return (project.data.model_dump_json() if project.data else None, prompt, project.spec.base_model)

    def draw(self, project: Project) -> list[Any]:
        if project.data is None:
            nothing = html.empty("No data yet. Drop a table (CSV, JSON, Excel, Parquet) above or into the chat.")
            hidden = gr.update(visible=False)
            none = gr.update(choices=[], value=None)
            return [none, none, nothing, hidden, hidden, hidden, "", None]
        pipeline = self._desk.pipeline
        table, profile, splits = pipeline.table(project), pipeline.profile(project), pipeline.splits(project)
        columns, choices = project.data.columns, list(table.columns)
        figures = [
            ("examples", f"{profile.usable:,}"),
            ("labels" if profile.labels else "free answers", str(len(profile.labels)) if profile.labels else "text"),
            ("tokens a row, median", str(profile.median_tokens)),
            ("tokens, 95 % of rows", str(profile.p95_tokens)),
            ("tokens, longest", str(profile.longest_tokens)),
            ("train / dev / test / arena", " / ".join(str(len(part)) for _, part in splits)),
        ]
        found = [
            (finding.severity, _with_rows(f"{finding.text} {finding.effect}", finding.rows))
            for finding in profile.findings
        ]
        labels = pd.DataFrame({"label": list(profile.labels), "rows": list(profile.labels.values())})
        return [
            gr.update(choices=choices, value=columns.input),
            gr.update(choices=choices, value=columns.output),
            html.tiles(figures) + html.notes(found or [("good", "Nothing was found that would spoil a training.")]),
            self._set_aside(project.id, table),
            gr.update(value=labels, visible=0 < len(labels) <= 40),
            gr.update(value=_histogram(profile.token_lengths), visible=True),
            html.rows_as_seen(pipeline.rendered_rows(project, 3)),
            pd.DataFrame(table.head(20), columns=choices),
        ]

    def _set_aside(self, id: str, table: Table) -> Any:
        """The button for the rows that could not be read, where there are any."""
        if not table.aside_rows:
            return gr.update(visible=False)
        path = Path(self._downloads.name) / id / "set-aside.csv"
        path.parent.mkdir(exist_ok=True)
        table.write_set_aside(path)
        return gr.update(value=str(path), visible=True)


def _with_rows(text: str, rows: tuple[int, ...]) -> str:
    if not rows:
        return text
    shown = ", ".join(map(str, rows[:10])) + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")
    return f"{text} Rows: {shown}."


def _histogram(lengths: tuple[int, ...]) -> pd.DataFrame:
    low, high = min(lengths), max(lengths)
    width = max(1, -(-(high - low + 1) // _BINS))
    counts = Counter((length - low) // width for length in lengths)
    bins = range(max(counts) + 1)
    names = [str(low + i * width) for i in bins]
    return pd.DataFrame({"tokens": names, "rows": [counts[i] for i in bins]})
