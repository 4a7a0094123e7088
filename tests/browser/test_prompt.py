"""The prompt workshop in a browser: write, read the critique, accept, compare, restore, and let it search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import open_panel, say, visit
from tests.trainers.checked import write_made_up_tickets


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    with running_app(tmp_path_factory.mktemp("prompt"), "embedded") as app:
        yield app


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    return write_made_up_tickets(tmp_path / "tickets.csv", 240)


def remark(page: Page, check: str) -> Locator:
    return page.locator(f"#prompt-remarks [data-check={check}]")


def version(page: Page, reason: str) -> Locator:
    return page.locator("#prompt-tree .tw-node", has_text=reason)


def test_without_data_nothing_is_measured_and_it_says_so(app: RunningApp, page: Page, tiny_model: Path) -> None:
    visit(page, app)
    say(page, "Route support tickets to a team. Labels: billing, delivery, technical, returns")
    say(page, f"Use the base model {tiny_model}")
    open_panel(page, "Prompt")
    page.locator("#measure").click()
    expect(page.locator(".toast-body")).to_contain_text("There is no data yet")


def test_write_critique_accept_compare_restore(app: RunningApp, page: Page, tickets: Path) -> None:
    visit(page, app)
    open_panel(page, "Data")
    page.locator("#data-file input[type=file]").set_input_files(tickets)
    expect(page.locator("#chat")).to_contain_text("From the Data panel")
    open_panel(page, "Prompt")
    system = page.locator("#system-prompt textarea")
    # Written, and read before it is saved.
    system.fill("Name the team: billing, delivery, etc.")
    system.blur()
    missing = remark(page, "labels_missing")
    expect(missing).to_contain_text("technical", timeout=240_000)  # it waits for the data's profile
    # What the remark suggests is laid beside the draft.
    missing.get_by_role("button").click()
    expect(page.locator("#proposal-diff ins").first).to_be_visible()
    expect(page.locator("#proposal-diff ins").first).to_contain_text(re.compile("technical|returns"))
    expect(system).to_have_value("Name the team: billing, delivery, etc.")
    page.locator("#proposal-accept").click()
    expect(page.locator("#proposal-diff")).to_be_hidden()
    expect(system).to_have_value(re.compile("technical"))
    expect(missing).to_have_count(0)
    # Measured, the parent too, and compared row by row.
    page.locator("#prompt-held input").check()
    page.locator("#measure").click()
    expect(page.locator("#measure-progress")).to_contain_text("of version", timeout=240_000)
    held = page.locator("#prompt-tree .tw-now")
    expect(held).to_contain_text("one of 4 answers")
    version(page, "edited in the panel").first.get_by_role("button", name="Restore").click()
    expect(system).to_have_value("Name the team: billing, delivery, etc.")
    page.locator("#measure").click()
    expect(page.locator("#prompt-tree .tw-now .tw-node-score")).to_contain_text("%", timeout=240_000)
    page.locator("#prompt-tree .tw-node", has_text="one of 4 answers").get_by_role("button", name="Compare").click()
    comparison = page.locator("#prompt-comparison")
    expect(comparison).to_contain_text(re.compile("better|worse|cannot tell"))
    expect(comparison.locator("table tr").nth(1)).to_be_visible()
    # Restored: the answers stay held, as they are part of the version.
    page.locator("#prompt-tree .tw-node", has_text="one of 4 answers").get_by_role("button", name="Restore").click()
    expect(page.locator("#prompt-held input")).to_be_checked()


def test_a_wish_in_the_chat_becomes_a_proposal(app: RunningApp, page: Page) -> None:
    visit(page, app)
    open_panel(page, "Prompt")
    say(page, "make the prompt shorter and never mention refunds")
    expect(page.locator("#proposal-diff ins")).to_contain_text("refunds")
    say(page, "keep mine")
    expect(page.locator("#proposal-diff")).to_be_hidden()


def test_a_search_goes_on_while_the_page_is_closed_and_can_be_stopped(app: RunningApp, page: Page) -> None:
    visit(page, app)
    open_panel(page, "Prompt")
    page.locator("#improve-start").click()
    progress = page.locator("#improve-progress")
    expect(progress.locator("[role=progressbar]")).to_be_visible()
    page.reload()
    open_panel(page, "Prompt")
    page.locator("#improve-stop").click()
    expect(progress).to_contain_text("Stopped")


def test_an_unknown_variable_is_told_and_nothing_is_lost(app: RunningApp, page: Page) -> None:
    visit(page, app)
    open_panel(page, "Prompt")
    template = page.locator("#prompt-template textarea")
    template.fill("{{ question }}")
    page.get_by_role("button", name="Save version").click()
    expect(page.locator(".toast-body")).to_contain_text("only {{ input }} is there")
    expect(template).to_have_value("{{ question }}")


def test_remarks_on_a_draft_stay_when_the_data_have_been_looked_through(
    app: RunningApp, page: Page, tmp_path: Path
) -> None:
    visit(page, app)
    page.get_by_role("button", name="+ New").click()
    expect(page.locator("#chat .bot.message")).to_have_count(1)
    open_panel(page, "Data")
    many = write_made_up_tickets(tmp_path / "many.csv", 4_000)
    page.locator("#data-file input[type=file]").set_input_files(many)
    expect(page.locator("#chat")).to_contain_text("many.csv")
    open_panel(page, "Prompt")
    page.locator("#system-prompt textarea").fill("Name the team: billing, delivery, etc.")
    page.locator("#system-prompt textarea").blur()
    missing = remark(page, "labels_missing")
    expect(missing).to_contain_text("technical", timeout=240_000)
    # The panel is drawn once the data are known, and leaves the draft and its remarks.
    expect(page.locator("#prompt-held")).to_contain_text("one of 4 answers", timeout=240_000)
    page.wait_for_timeout(500)
    expect(missing.get_by_role("button")).to_be_visible()
