"""`tunewright export` as a person meets it, and the exports that the screen has done."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from typer.testing import CliRunner

from assistant.cli_export import add_commands
from assistant.exportbench import ExportBench
from assistant.project import Project
from assistant.ui.export_box import ExportBox
from prompts.errors import RunError
from tests.assistant.journey import measured
from tests.trainers.runs import write_tickets
from tests.trainers.test_exporting import lora, save_adapter
from trainers import jobs
from trainers.data import Mapping
from trainers.exporting.records import ExportReport, Order
from trainers.paths import Paths
from trainers.plan import DataPlan, TrainingPlan
from trainers.status import RunFolder, RunStatus


@pytest.fixture
def run(paths: Paths, tiny_model: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that left an adapter, without training it."""
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    data = DataPlan(path=write_tickets(tmp_path / "tickets.csv"), columns=Mapping(input="text", output="label"))
    made = jobs.create_run(TrainingPlan(base_model=str(tiny_model), data=data), paths)
    save_adapter(tiny_model, made.adapter, lora())
    made.write_status(RunStatus(state="done"))
    return made


def tunewright(*arguments: str | Path) -> Any:
    import typer

    cli = typer.Typer()
    add_commands(cli)
    cli.callback()(lambda: None)  # else typer takes the single command for the whole
    return CliRunner().invoke(cli, ["export", *map(str, arguments)])


def test_the_report_is_printed_in_words_and_as_json(run: RunFolder, tmp_path: Path) -> None:
    ran = tunewright(run.id, "--format", "adapter", "--to", tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    assert "Loaded again and compared with the served model" in ran.stdout and "# vLLM" in ran.stdout
    ran = tunewright(run.id, "--format", "merged", "--to", tmp_path / "merged", "--json")
    report = ExportReport.model_validate(json.loads(ran.stdout))
    assert report.folder == tmp_path / "merged" and report.self_test.arrived == pytest.approx(1, abs=1e-3)
    ran = tunewright(run.id, "--format", "hub", "--repo", "me/tickets")
    assert "Nothing was sent. --push would send" in ran.stdout and "me/tickets (private)" in ran.stdout
    assert "adapter_model.safetensors" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "onnx"], "--format is 'onnx', but it is 'adapter'"),
        (["--format", "gguf", "--quantization", "q2"], "--quantization is 'q2', but it is 'f32'"),
        (["--format", "hub"], "The hub wants a repo as owner/name"),
        (["--push"], "for the hub alone"),
    ],
)
def test_wrong_orders_are_told_in_one_sentence(arguments: list[str], told: str) -> None:
    ran = tunewright("no-run", *arguments)
    assert isinstance(ran.exception, RunError) and told in str(ran.exception)


def test_the_box_has_a_child_export_and_shows_what_goes_on_and_the_proof(run: RunFolder, tmp_path: Path) -> None:
    """Without a browser: what is drawn before, in between and after, and what an order on the screen becomes."""
    project = Project(id="p", name="p", created=0)
    shown: list[RunFolder | None] = [None]
    pipeline = SimpleNamespace(tuned_run=lambda _: shown[0], project=lambda _: project)
    with gr.Blocks():
        desk = SimpleNamespace(pipeline=pipeline, project_id=gr.State("p"), then_redraw=lambda event: event)
        box = ExportBox(desk)  # type: ignore[arg-type]
    assert len(box.draw(project)) == len(box.outputs)
    assert "nothing to export yet" in box.draw(project)[2] and box.draw(project)[0]["interactive"] is False
    before = box.signature(project)
    shown[0] = run
    assert box.signature(project) != before and box.draw(project)[0]["interactive"] is True
    with pytest.raises(RunError, match="owner/name"):
        box._go("p", "hub", "f16", "tickets", "")

    box._go("p", "hub", "f16", "me/tickets", str(tmp_path / "out"))
    job = box._bench.of(run)
    assert job is not None and (job.order.repo, job.order.to) == ("me/tickets", tmp_path / "out")
    assert box.draw(project)[1]["interactive"] is True
    with pytest.raises(RunError, match="goes on"):
        box._go("p", "adapter", "f16", "", "")
    job.wait()
    assert job.error == "" and job.report and job.fraction == 1.0 and job.elapsed == job.seconds
    start, cancel, told, download, lines = box.draw(project)
    assert start["interactive"] is True and cancel["interactive"] is False
    assert "answers as the served model does" in told and "100%" in told and "Nothing was sent" in told
    assert "PeftModel" in lines["value"]
    with zipfile.ZipFile(download["value"]) as pack:
        assert "out/adapter_model.safetensors" in pack.namelist() and pack.testzip() is None


def test_a_refused_and_a_cancelled_export_say_so_and_leave_nothing(run: RunFolder, tmp_path: Path) -> None:
    bench = ExportBench()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    refused = bench.start(run, Order(format="adapter", to=tmp_path / "full"))
    refused.wait()
    assert "is there already" in refused.error and refused.report is None and bench.of(run) is refused
    cancelled = bench.start(run, Order(format="merged"))
    bench.cancel(run)
    cancelled.wait()
    assert (cancelled.error, cancelled.message) == ("", "Cancelled; nothing was kept.")
    assert not list((run.path / "exports").glob("*")) if (run.path / "exports").exists() else True
