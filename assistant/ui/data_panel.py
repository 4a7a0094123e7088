"""The Data panel: what came in, how it is read, what is in it, what would spoil a training and what was done about it.

Owns the mapping's controls and the order of the panel. The ways in are `take_data`'s, the cards `findings`'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import gradio as gr
import pandas as pd

from assistant.profiling import Profiling
from assistant.project import DataSource, Project
from assistant.ui import findings, html
from assistant.ui.panel import Desk
from assistant.ui.review import Review
from assistant.ui.take_data import TakeData
from assistant.ui.write_panel import WritePanel
from prompts.errors import DataError
from trainers.data import Mapping
from trainers.profile import DatasetProfile
from trainers.reading import ComposedKind, Table
from trainers.splits import Splits

_BINS = 12
_NONE = ""
_SHAPES: dict[ComposedKind, str] = {
    "instruction": "Instruction and context (Alpaca)",
    "messages": "Conversations (OpenAI)",
    "conversations": "Conversations (ShareGPT)",
    "preference": "Preferences (DPO)",
    "thumbs": "Thumbs (KTO)",
}
assert set(_SHAPES) == set(get_args(ComposedKind))


class DataPanel:
    """Upload, mapping, profile, findings with their fixes, and preview."""

    waits_for = "rest"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._downloads = TemporaryDirectory(prefix="tunewright-")  # Gradio serves files from there
        TakeData(desk)
        with gr.Row():
            self._input = gr.Dropdown([], label="Goes in", interactive=True, min_width=140, elem_id="column-input")
            self._output = gr.Dropdown([], label="Answer", interactive=True, min_width=140, elem_id="column-output")
            self._shape = gr.Dropdown([], label="Read as", interactive=True, min_width=140, elem_id="column-shape")
            self._split = gr.Dropdown([], label="Test rows", interactive=True, min_width=140, elem_id="column-split")
        self._summary = gr.HTML(elem_id="data-summary")
        with gr.Accordion("Three rows, exactly as the model will see them", open=True):
            self._seen = gr.HTML(elem_id="data-seen")
        with gr.Row():
            self._labels = gr.BarPlot(x="rows", y="label", title="Rows for each label", height=240, visible=False)
            self._lengths = gr.BarPlot(
                sort=None, x="tokens", y="rows", title="Row length in tokens (bins from)", height=240, visible=False
            )
        self._findings = gr.HTML(elem_id="data-findings", js_on_load=findings.LISTEN)
        self.review = Review(desk)
        desk.hold_while(self.review.reviewing.active)
        self.writing = WritePanel(desk)
        self._aside = gr.DownloadButton("Download what could not be read", visible=False, size="sm")
        with gr.Accordion("The first rows of the file", open=False):
            self._rows = gr.Dataframe(interactive=False, wrap=True, max_height=300)
        columns = [self._input, self._output, self._shape, self._split]
        self.outputs: list[Any] = [
            *columns, self._summary, self._seen, self._labels, self._lengths, self._findings, self._aside, self._rows
        ]  # fmt: skip
        for column in columns:
            desk.then_redraw(column.input(desk.edits(self._map), [desk.project_id, *columns], columns))
        desk.then_redraw(self._findings.click(desk.edits(self._act), [desk.project_id], None))

    def _map(self, id: str, input: str, output: str, shape: str, split: str) -> list[Any]:
        """Read the rows otherwise; where that cannot be, the choices go back to how they are read."""
        pipeline = self._desk.pipeline
        kind = next((known for known in _SHAPES if known == shape), None)
        columns = Mapping(input=input, output=output or "", shape=kind, split=split or None)
        before = pipeline.source(pipeline.project(id)).columns
        if columns != before:  # a dropdown tells of one choice twice: when it is made, and when it is left
            try:
                pipeline.set_columns(id, columns)
            except DataError as error:
                gr.Warning(str(error), title="That did not work", duration=15)
                return _mapping(before, pipeline.table(pipeline.project(id)))
            self._desk.conversation.note(id, f"From the Data panel: {columns.told}.")
        return [gr.skip()] * 4

    def _act(self, id: str, event: gr.EventData) -> None:
        """A button in the list of findings or of changes."""
        pipeline = self._desk.pipeline
        project = pipeline.project(id)
        data = pipeline.source(project)
        kind, index = findings.chosen(event.key, data)
        if kind == "fix":
            finding = pipeline.profile(project).findings[index]
            pipeline.fix(id, finding)
            told = f"{finding.fix.words if finding.fix else ''} ({len(finding.rows):,} rows)"
        else:
            told = f"taken back: {data.edits[index].words}"
            pipeline.undo(id, index)
        self._desk.conversation.note(id, f"From the Data panel: {told}")

    def signature(self, project: Project) -> Hashable:
        prompt = project.prompt.id if project.prompt else None
        shown = (project.data.model_dump_json() if project.data else None, prompt, project.spec.base_model)
        if project.data is None:
            return shown
        job = self._desk.pipeline.profiling(project)
        return (*shown, job.done or (job.what, round(job.fraction, 2)))

    def draw(self, project: Project) -> list[Any]:
        hidden = gr.update(visible=False)
        if project.data is None:
            nothing = html.empty("No data yet. Drop a table (CSV, JSON, Excel, Parquet) above or into the chat.")
            none = gr.update(choices=[], value=None)
            return [none, none, none, none, nothing, "", hidden, hidden, "", hidden, None]
        table, job = self._desk.pipeline.table(project), self._desk.pipeline.profiling(project)
        mapping = _mapping(project.data.columns, table)
        rows = [self._set_aside(project.id, table), pd.DataFrame(table.head(20), columns=list(table.columns))]
        if not job.done:
            changed = findings.changes(project.data.edits, project.data)
            return [*mapping, _progress(job), "", hidden, hidden, changed, *rows]
        profile = job.result()
        return [*mapping, *self._known(project, project.data, profile), *rows]

    def _known(self, project: Project, data: DataSource, profile: DatasetProfile) -> list[Any]:
        """Figures, the rows as the model sees them, plots and cards."""
        splits = self._desk.pipeline.splits(project)
        labels = pd.DataFrame({"label": list(profile.labels), "rows": list(profile.labels.values())})
        seen = self._desk.pipeline.rendered_rows(project, 3)
        return [
            _figures(profile, splits),
            html.rows_as_seen(seen) if seen else html.empty("No row has both an input and an answer yet."),
            gr.update(value=labels, visible=0 < len(labels) <= 40),
            _histogram(profile.token_lengths),
            findings.cards(profile.findings, data) + findings.changes(data.edits, data),
        ]

    def _set_aside(self, id: str, table: Table) -> Any:
        """The button for the rows that could not be read, where there are any."""
        if not table.aside_rows:
            return gr.update(visible=False)
        path = Path(self._downloads.name) / id / "set-aside.csv"
        path.parent.mkdir(exist_ok=True)
        table.write_set_aside(path)
        return gr.update(value=str(path), visible=True)


def _mapping(columns: Mapping, table: Table) -> list[Any]:
    """The four choices of how a row is read."""
    names = list(table.columns)
    shapes = [("Two columns", _NONE), *((words, kind) for kind, words in _SHAPES.items())]
    return [
        gr.update(choices=names, value=columns.input),
        gr.update(choices=[("(no answers yet)", _NONE), *((name, name) for name in names)], value=columns.output),
        gr.update(choices=shapes, value=columns.shape or _NONE),
        gr.update(
            choices=[("Drawn at random", _NONE), *((f"Named in {name!r}", name) for name in names)],
            value=columns.split or _NONE,
        ),
    ]


def _progress(job: Profiling) -> str:
    left = html.duration(job.seconds_left)
    return html.progress(job.fraction, f"Looking through the data: {job.what}", f"about {left} left" if left else "")


def _figures(profile: DatasetProfile, splits: Splits) -> str:
    parts = dict(splits.parts())
    figures = [
        ("examples", f"{profile.usable:,}"),
        ("labels" if profile.labels else "free answers", str(len(profile.labels)) if profile.labels else "text"),
        ("tokens a row, median", f"{profile.median_tokens:,}"),
        ("tokens, 95 % of rows", f"{profile.p95_tokens:,}"),
        ("tokens, longest", f"{profile.longest_tokens:,}"),
    ]
    divided = [
        (f"{len(parts['train']):,}", "to train"),
        (f"{len(parts['dev']):,}", "to choose prompts"),
        (f"{len(parts['test']):,}", "sealed for the report"),
        (f"{len(parts['arena']):,}", "to vote on side by side"),
    ]
    if splits.left_out:
        divided.append((f"{len(splits.left_out):,}", "left out: a twin is in the test"))
    cut = ", ".join(f"{count:,} above {limit:,} tokens" for limit, count in profile.cut_at.items() if count)
    note = html.notes([("info", f"Rows that would be cut: {cut}.")]) if cut else ""
    return html.tiles(figures) + html.divided(divided) + note


def _histogram(lengths: tuple[int, ...]) -> Any:
    low, high = min(lengths, default=0), max(lengths, default=0)
    width = max(1, -(-(high - low + 1) // _BINS))
    counts = Counter((length - low) // width for length in lengths)
    bins = range(max(counts, default=0) + 1)
    names = [str(low + i * width) for i in bins]
    value = pd.DataFrame({"tokens": names, "rows": [counts[i] for i in bins]})
    return gr.update(value=value, sort=names, visible=bool(lengths))  # else the names would be sorted as texts
