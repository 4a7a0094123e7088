"""The report in a browser: the verdict, the checks, a remedy that becomes the plan, rows to choose, and the files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.ui.panel import Desk
from assistant.ui.report_panel import ReportPanel, remedy_at
from prompts.errors import RunError
from tests.assistant.journey import DESCRIPTION, begin_project, open_pipeline, pretend_run
from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import open_panel
from tests.reports import REMEDY, write_full_report
from tests.trainers.runs import write_tickets
from trainers.cards.facts import gather
from trainers.paths import Paths
from trainers.status import RunStatus
from trainers.worker import write_end


def invented(root: Path, model: Path) -> None:
    """A project with one run that nobody trained, and a full report of it, in the folders that the app will use."""
    pipeline, _ = open_pipeline(Paths(home=root / "home", cache=root / "cache"))
    project = begin_project(pipeline, model)
    pipeline.edit_spec(project.id, {"description": DESCRIPTION, "task": "classification"})
    pipeline.add_file(project.id, write_tickets(root / "tickets.csv"))
    run = pretend_run(pipeline, project.id, RunStatus(state="done", phase="finished", fraction=1.0))
    run.write_spec(pipeline.project(project.id).spec)
    write_full_report(run)
    pipeline.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The invented project, made once; each test changes a copy."""
    root = tmp_path_factory.mktemp("report")
    invented(root, tiny_model)
    return root


@pytest.fixture(scope="module")
def app(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    root = tmp_path_factory.mktemp("app") / "copy"
    shutil.copytree(made, root)
    with running_app(root, "embedded") as app:
        yield app


@pytest.fixture
def shown(made: Path, tmp_path: Path) -> Iterator[tuple[ReportPanel, Pipeline, Project]]:
    """The panel without a browser, and the project with the invented report."""
    shutil.copytree(made, tmp_path / "copy")
    pipeline, _ = open_pipeline(Paths(home=tmp_path / "copy" / "home", cache=tmp_path / "copy" / "cache"))
    with gr.Blocks():
        panel = ReportPanel(Desk(pipeline, gr.State("")))
    yield panel, pipeline, pipeline.project(pipeline.store.projects()[0].id)
    pipeline.close()


def test_a_report_from_before_there_was_a_verdict_asks_to_be_examined(
    shown: tuple[ReportPanel, Pipeline, Project],
) -> None:
    panel, pipeline, project = shown
    run = pipeline.tuned_run(project)
    assert run
    report = run.report()
    assert report
    before = panel.signature(project)
    old = report.model_copy(update={"verdict": None, "parts": (), "gates": (), "arms": ()})
    run.write_report(old, run.predictions())
    assert panel.signature(project) != before
    head, compare, examine, body, *files = panel.draw(project)
    assert "Yes, it really got better." in head and "Make this plan" not in head
    assert examine["value"] == "Examine now" and examine["visible"] and compare["visible"]
    assert "were not looked at in this run" in body and len(files) == 3


def test_while_it_is_examined_it_shows_how_far_it_is_and_why_it_did_not_end(
    shown: tuple[ReportPanel, Pipeline, Project],
) -> None:
    panel, pipeline, project = shown
    run, progress = pipeline.tuned_run(project), panel.parts[0]
    assert run
    now = run.written_status()
    row, _, why = progress.draw(project)
    assert not row["visible"] and not why["visible"]
    run.write_status(now.model_copy(update={"state": "queued", "message": "Waiting to be examined."}))
    row, bar, _ = progress.draw(project)
    assert row["visible"] and "Waiting to be examined." in bar
    assert not panel.draw(project)[2]["visible"]  # it cannot be asked for twice
    run.write_status(now.model_copy(update={"state": "failed", "message": "Memory ran out."}))
    row, _, why = progress.draw(project)
    assert not row["visible"] and "Memory ran out." in why["value"]
    assert "rp-verdict" in panel.draw(project)[0]  # the report from before is still there
    write_end(run, {"state": "failed", "message": "Memory ran out.", "hint": "Use fewer rows."})
    assert run.written_status().state == "done"
    _, _, why = progress.draw(project)
    assert why["visible"] and "ended early: Memory ran out. Use fewer rows." in why["value"]


def test_a_remedy_of_a_report_that_has_changed_is_refused(shown: tuple[ReportPanel, Pipeline, Project]) -> None:
    _, pipeline, project = shown
    run = pipeline.tuned_run(project)
    assert run
    facts = gather(run)
    number = next(n for n, (_, gate) in enumerate(facts.gates) if gate.name == "Learned by heart")
    assert remedy_at(facts, number, 0) == REMEDY
    with pytest.raises(RunError, match="changed meanwhile"):
        remedy_at(facts, number, 9)


def test_verdict_checks_rows_files_and_a_remedy(app: RunningApp, page: Page) -> None:
    page.goto(app.url)
    open_panel(page, "Report")
    head, body = page.locator("#report-head"), page.locator("#report-body")

    # What a manager reads first, and each check with its level.
    expect(head.locator(".rp-verdict h2")).to_have_text(
        "It got better at the task, but it finds general text more surprising."
    )
    expect(head.locator(".rp-three")).to_contain_text("was trained on 180 rows")
    gate = head.locator("[data-gate='Learned by heart']")
    expect(gate.locator(".rp-level")).to_have_text("look at this")
    expect(head.locator("[data-gate='Never promise refunds'] .rp-level")).to_have_text("not known")

    # What is shown is text, whatever it looks like.
    expect(body).to_contain_text("${1+1} {{ 2*2 }}")
    expect(body.locator("script")).to_have_count(0)
    expect(body.locator("svg")).to_have_count(3)

    # Rows: those that were lost alone.
    lost = body.locator("tr[data-outcome=lost]")
    expect(lost.first).to_be_visible()
    body.locator(".rp-picks label", has_text="lost").click()
    expect(body.locator("tr[data-outcome=won]").first).to_be_hidden()
    expect(lost.first).to_be_visible()

    # The files.
    for button, name, told in (
        ("#report-html", "report.html", "<!doctype html>"),
        ("#report-card", "README.md", "model-index"),
        ("#report-json", "report.json", '"format": 1'),
    ):
        with page.expect_download() as loading:
            page.locator(f"a:has({button}), {button}").first.click()
        text = Path(loading.value.path()).read_text("utf-8")
        assert loading.value.suggested_filename == name and told in text
    assert json.loads(text)["verdict"]["level"] == "failed"

    # A remedy becomes the plan.
    gate.get_by_role("button", name="Make this plan").click()
    expect(page.locator("#chosen-plan")).to_contain_text("Your own plan")
    expect(page.locator("#chosen-plan")).to_contain_text("2 epochs")
    expect(page.locator("#chat")).to_contain_text("with this change: Train for 2 epochs instead of 4")
