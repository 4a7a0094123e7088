"""Trying the options in a browser: what it takes, start, stop, found again; the table, the plots, and what follows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.ui.panel import Desk
from assistant.ui.trials_box import TrialsBox
from tests.assistant.journey import begin_project, measured, open_pipeline
from tests.assistant.trials_kit import SENTENCE, invent
from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import open_panel
from tests.trainers.runs import write_tickets
from trainers.paths import Paths
from trainers.trials.records import TrialsStatus


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Two projects of the same tickets, one with trials that are done; made once, each test has a copy."""
    root = tmp_path_factory.mktemp("trials")
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), root / "cache")
    pipeline, _ = open_pipeline(Paths(home=root / "home", cache=root / "cache"))
    for name in ("tried", "fresh"):
        project = begin_project(pipeline, tiny_model)
        pipeline.edit_spec(project.id, {"task": "classification"})
        pipeline.add_file(project.id, write_tickets(root / f"{name}.csv"))
        pipeline.change(project.id, name=name)
        if name == "tried":
            invent(pipeline, project.id)
        pipeline.go_to(project.id, "Strategy")
    pipeline.close()
    return root


@pytest.fixture(scope="module")
def app(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    root = tmp_path_factory.mktemp("app") / "copy"
    shutil.copytree(made, root)
    with running_app(root, "embedded") as app:
        yield app


@pytest.fixture
def shown(made: Path, tmp_path: Path) -> Iterator[tuple[TrialsBox, Pipeline, Project]]:
    """The box without a browser, and the project whose trials are done."""
    shutil.copytree(made, tmp_path / "copy")
    pipeline, _ = open_pipeline(Paths(home=tmp_path / "copy" / "home", cache=tmp_path / "copy" / "cache"))
    with gr.Blocks():
        box = TrialsBox(Desk(pipeline, gr.State("")))
    yield box, pipeline, named(pipeline, "tried")
    pipeline.close()


def named(pipeline: Pipeline, name: str) -> Project:
    return next(project for project in pipeline.store.projects() if project.name == name)


def visit(page: Page, app: RunningApp, name: str) -> None:
    pipeline, _ = open_pipeline(Paths(home=app.home, cache=app.home.parent / "cache"))
    id = named(pipeline, name).id
    pipeline.close()
    page.goto(f"{app.url}/?project={id}")
    open_panel(page, "Strategy")


# Without a browser


def test_the_table_and_the_plots_stay_while_only_the_time_goes_on(
    shown: tuple[TrialsBox, Pipeline, Project],
) -> None:
    box, pipeline, project = shown
    folder = pipeline.trials(project)
    assert folder
    before = box.signature(project), box.results.signature(project)
    assert before == (box.signature(project), box.results.signature(project))
    folder.write_status(folder.status().model_copy(update={"fraction": 0.7, "spent_seconds": 99.0}))
    assert box.signature(project) != before[0]
    assert box.results.signature(project) == before[1]
    folder.add(folder.tried()[-1].model_copy(update={"seconds": 2.0}))
    assert box.results.signature(project) != before[1]


def test_what_comes_from_outside_is_escaped(shown: tuple[TrialsBox, Pipeline, Project]) -> None:
    box, pipeline, project = shown
    folder = pipeline.trials(project)
    decision = folder.decision() if folder else None
    assert folder and decision
    folder.write_decision(decision.model_copy(update={"sentence": "<script>alert(1)</script> is best"}))
    order = folder.order()
    first = order.candidates[0].model_copy(update={"title": "<b>mine</b>"})
    folder.write_order(order.model_copy(update={"candidates": (first, *order.candidates[1:])}))
    drawn = "".join(map(str, box.results.draw(project)))
    assert "<script>" not in drawn and "&lt;script&gt;" in drawn
    assert "<b>mine</b>" not in drawn


def test_a_change_since_is_told_and_takes_the_plan_away(shown: tuple[TrialsBox, Pipeline, Project]) -> None:
    box, pipeline, project = shown
    verdict, table, plots = box.results.draw(project)
    assert "Use this plan" in verdict and "take:" in table and "<svg" in plots
    changed = pipeline.save_prompt(project.id, system="Another prompt.", reason="test")
    verdict, table, _ = box.results.draw(changed)
    assert "the prompt changed" in verdict and SENTENCE in verdict
    assert "Use this plan" not in verdict and "take:" not in table and "open:" in table


def test_a_failure_says_what_happened_and_offers_to_go_on(shown: tuple[TrialsBox, Pipeline, Project]) -> None:
    box, pipeline, project = shown
    folder = pipeline.trials(project)
    assert folder
    (folder.path / "decision.json").unlink()
    folder.log.write_text("MemoryError: no room\n")
    folder.write_status(TrialsStatus(state="failed", message="It ended without a word.", hint="Go on."))
    head, start, stop, resume, progress = box.draw(project)
    assert "failed" in head and "It ended without a word. Go on." in progress and "MemoryError" in progress
    assert resume["visible"] and start["interactive"] and not stop["interactive"]


# In a browser


def test_the_evidence_is_seen_taken_and_opened(app: RunningApp, page: Page) -> None:
    visit(page, app, "tried")
    expect(page.locator("#trials-head")).to_contain_text("finished")
    expect(page.locator("#trials-verdict")).to_contain_text(SENTENCE)
    expect(page.locator("#trials-verdict")).to_contain_text("More epochs would not")
    expect(page.locator("#trials-table tr[data-option]").first).to_have_attribute("data-state", "advised")
    assert page.locator("#trials-table tr[data-state=out]").count() > 0
    expect(page.locator("#trials-plots svg")).to_have_count(3)
    expect(page.locator("#chat")).to_contain_text(SENTENCE)  # its end is told
    for width in (1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        box = page.locator("#trials").bounding_box()
        assert box and box["x"] + box["width"] <= width
        inside = page.locator("#trials-table .tw-scroll")
        assert inside.evaluate("e => e.scrollWidth <= e.clientWidth"), "no part of the table is cut"
    page.locator("#trials-verdict button", has_text="Use this plan").click()
    expect(page.locator("#chat")).to_contain_text("From the trials: the plan is now LoRA, rank")
    expect(page.locator("#chosen-plan")).to_contain_text("Your own plan: LoRA, rank")
    page.locator("#trials-table button", has_text="Open run").first.click()
    expect(page.get_by_role("tab", name=re.compile("Report"))).to_have_attribute("aria-selected", "true")
    expect(page.locator(".toast-body")).to_contain_text("a try on part of the rows")


def test_it_is_started_found_again_by_another_page_and_stopped(app: RunningApp, page: Page) -> None:
    visit(page, app, "fresh")
    head = page.locator("#trials-head")
    expect(head).to_contain_text("Your prompt alone")
    expect(head).to_contain_text("The test rows stay sealed")
    expect(head).to_contain_text("memory at most")
    page.locator("#trials-start").click()
    expect(head).to_contain_text(re.compile("waits|trying"))
    expect(page.locator("#chat")).to_contain_text("I try the options, for at most 10 minutes")
    expect(page.locator("#trials-start")).to_be_disabled()
    page.reload()
    open_panel(page, "Strategy")
    expect(head).to_contain_text(re.compile("waits|trying"))
    expect(page.locator("#trials-table tr[data-option]").first).to_be_visible()
    page.locator("#trials-stop").click()
    expect(head).to_contain_text("stopped", timeout=120_000)
    expect(page.locator("#trials-resume")).to_be_visible()
    expect(page.locator("#chat")).to_contain_text(re.compile("The trials have ended|best|advised"))
