"""Advice in a browser: the verdict first, options that open and stay open, their plans, and contradictions."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from assistant.pipeline import Pipeline
from assistant.settings import Settings
from assistant.workbench import NEW_PROJECT
from tests.assistant.journey import measured
from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import open_panel, say, visit
from tests.trainers.checked import write_made_up_tickets
from trainers.paths import Paths


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[RunningApp]:
    """An app with one project: a tiny model, made-up tickets, and a wish for preferences that are not there."""
    folder = tmp_path_factory.mktemp("strategy")
    paths = Paths(home=folder / "home", cache=folder / "cache")
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    pipeline = Pipeline(Settings(paths=paths, engine="embedded"))
    id = pipeline.store.create_project(NEW_PROJECT).id
    pipeline.edit_spec(id, {"base_model": str(tiny_model), "description": "Route tickets", "has_preferences": True})
    pipeline.add_file(id, write_made_up_tickets(folder / "tickets.csv", 200))
    pipeline.close()
    with running_app(folder, "embedded") as app:
        yield app


def option(page: Page, kind: str) -> Locator:
    return page.locator(f"#options details.tw-option[data-fold={kind}]")


def test_the_verdict_options_that_stay_open_and_a_plan_taken(app: RunningApp, page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    visit(page, app)
    open_panel(page, "Strategy")
    best = page.locator("#advice .tw-best")
    expect(best).to_contain_text("advised")
    expect(best.locator("ul.tw-why").first.locator("li")).to_have_count(3)
    expect(best.locator(".tw-tile", has_text="time from start to report")).to_be_visible()
    expect(best.locator(".tw-stack", has_text="Memory")).to_contain_text("that this machine has")
    expect(best).to_contain_text("Training follows this plan")
    expect(best.locator(".tw-source a[href^='https://']").first).to_have_attribute("target", "_blank")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is pushed out of the window"

    # What a person opened is open after a redraw, and what they shut is shut.
    few_shot = option(page, "few_shot")
    expect(few_shot.locator(".tw-fold-body")).not_to_be_visible()
    few_shot.locator("summary").click()
    expect(few_shot.locator(".tw-fold-body")).to_be_visible()
    page.locator("#options details[data-fold=away] > summary").click()
    option(page, "prompt_tuning").locator("summary").click()
    option(page, "prompt_tuning").locator("summary").click()
    few_shot.get_by_role("button", name="Use this plan").click()
    expect(page.locator("#chosen-plan")).to_contain_text("Your own plan: Few-shot")
    expect(page.locator("#chat")).to_contain_text("From the Strategy panel: the plan is now")
    expect(few_shot).to_contain_text("Training follows this plan")
    expect(few_shot.locator(".tw-fold-body")).to_be_visible()
    expect(option(page, "prompt_tuning").locator("summary")).to_be_visible()
    expect(option(page, "prompt_tuning").locator(".tw-fold-body")).not_to_be_visible()
    best.get_by_role("button", name="Use this plan").click()
    expect(page.locator("#chosen-plan")).to_contain_text("Your own plan: LoRA")
    say(page, "go back")
    expect(page.locator("#chosen-plan")).to_contain_text("Your own plan: Few-shot")
    # Cards that come to stand in others' places do not open in their stead.
    page.evaluate("""() => {
      const find = (kind) => document.querySelector(`#options [data-fold=${kind}]`);
      const [first, second] = ['few_shot', 'prompt'].map(find);
      [first.dataset.fold, second.dataset.fold] = ['prompt', 'few_shot'];
    }""")
    expect(option(page, "few_shot")).to_have_attribute("open", "")
    expect(option(page, "prompt")).not_to_have_attribute("open", "")
    page.get_by_text("What the rules saw").click()
    expect(page.locator(".tw-saw")).to_be_visible()


def test_a_contradiction_is_settled_by_its_button(app: RunningApp, page: Page) -> None:
    visit(page, app)
    open_panel(page, "Strategy")
    conflict = page.locator("#advice .tw-conflict")
    expect(conflict).to_have_count(1)
    expect(conflict).to_contain_text(re.compile("prefer|judge|better", re.IGNORECASE))
    conflict.get_by_role("button").click()
    expect(conflict).to_have_count(0)
    expect(page.locator("#chat")).to_contain_text("From the Strategy panel: the task is changed, judgements which")
