"""The ways in which data comes into the Data panel: files, a folder, a pasted table, a data set of the hub.

Owns the controls and their progress. Refuses to read any of it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from assistant.ui import html
from assistant.ui.panel import Desk
from prompts.errors import DataError, TunewrightError
from trainers.reading import SUFFIXES
from trainers.reading.hub import fetch_dataset, is_dataset_id

_PATIENCE = 2.0  # seconds that a small file's profile is waited for, so that it is drawn at once


class TakeData:
    """Controls that bring data into the project on the screen."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with gr.Row(equal_height=True):
            files = gr.File(
                label="Tables: CSV, JSON, Excel, Parquet",
                file_count="multiple",
                file_types=list(SUFFIXES),
                height=150,
                elem_id="data-file",
                scale=3,
            )
            with gr.Column(scale=2, min_width=220):
                text = gr.Textbox(
                    label="Or a pasted table, or a hub data set",
                    placeholder="text,label … or owner/name",
                    lines=3,
                    max_lines=6,
                    elem_id="data-text",
                )
                with gr.Row():
                    take = gr.Button("Take it", size="sm", variant="primary", elem_id="data-take", min_width=80)
                    stop = gr.Button("Stop", size="sm", visible=False, min_width=80)
                    folder = gr.UploadButton(
                        "A whole folder", file_count="directory", size="sm", elem_id="data-folder", min_width=120
                    )
        progress = gr.HTML(elem_id="data-fetching")
        desk.then_redraw(files.upload(desk.edits(self._files), [desk.project_id, files], files))
        desk.then_redraw(folder.upload(desk.edits(self._folder), [desk.project_id, folder], None))
        shown = [progress, stop, text]
        taken = take.click(self._text, [desk.project_id, text], shown, show_progress="hidden")
        desk.then_redraw(taken)
        stop.click(lambda: ("", gr.update(visible=False)), None, [progress, stop], cancels=[taken])

    def _files(self, id: str, paths: Sequence[str]) -> None:
        if len(paths) == 1:
            self._take(id, Path(paths[0]), Path(paths[0]).name)
        else:
            self._several(id, [Path(path) for path in paths], f"{len(paths)} files")

    def _folder(self, id: str, paths: Sequence[str]) -> None:
        files = [Path(path) for path in paths if Path(path).suffix.lower() in SUFFIXES]
        if not files:
            told = f"A folder of tables holds files that end in {', '.join(SUFFIXES)}."
            raise DataError("There is no table in this folder.", hint=told)
        self._several(id, files, f"a folder of {len(files)} files")

    def _several(self, id: str, paths: Sequence[Path], name: str) -> None:
        """As one folder, under the names that they came with: these may say what is training and what is test."""
        with TemporaryDirectory() as folder:
            for path in paths:
                copy = Path(folder) / path.name
                shutil.copy2(path, copy if not copy.exists() else copy.with_stem(f"{path.stem}-{path.parent.name}"))
            self._take(id, Path(folder), name)

    def _take(self, id: str, path: Path, name: str) -> None:
        project = self._desk.pipeline.add_file(id, path, name)
        assert project.data is not None
        told = f"From the Data panel: **{name}**, {project.data.columns.told}."
        self._desk.conversation.note(id, told, ("Measure the prompt", "What do you advise?"))
        self._desk.pipeline.profiling(project).wait(_PATIENCE)

    async def _text(self, id: str, text: str) -> AsyncIterator[tuple[Any, Any, Any]]:
        """A pasted table, or what the hub knows by this name, with what is going on meanwhile."""
        said = ["Beginning"]
        stopped = False

        def say(line: str) -> None:
            if stopped:
                raise asyncio.CancelledError
            said.append(line)

        work = asyncio.create_task(asyncio.to_thread(self._bring, id, text.strip(), say))
        try:
            while not work.done():
                yield html.empty(said[-1]), gr.update(visible=is_dataset_id(text)), gr.skip()
                await asyncio.wait([work], timeout=0.5)
            work.result()
        except TunewrightError as error:
            yield "", gr.update(visible=False), gr.skip()
            raise gr.Error(str(error), title="That did not work", duration=15, print_exception=False) from error
        finally:
            stopped = True
        yield "", gr.update(visible=False), ""

    def _bring(self, id: str, text: str, say: Any) -> None:
        if not text:
            raise DataError("There is nothing to take.", hint="Paste a table with a header, or name a hub data set.")
        with self._desk.pipeline.undoable(id):
            if is_dataset_id(text):
                self._take(id, fetch_dataset(text, self._desk.pipeline.settings.paths.cache / "hub", say), text)
                return
            with TemporaryDirectory() as folder:
                path = Path(folder) / "pasted.csv"
                path.write_text(text, encoding="utf-8")
                self._take(id, path, "pasted table")
