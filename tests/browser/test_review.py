"""Rows decided one at a time by keyboard, in a browser: answers, taking one back, rows that a model wrote."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.settings import Settings
from prompts.versions import Demonstration
from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import open_panel, visit
from trainers.paths import Paths

_WORDS = {"billing": "invoice charge refund", "delivery": "parcel courier late", "technical": "crash error screen"}
EVIL = "Where is <b>my</b> {{parcel}} ${alert(1)}</textarea><img src=x onerror=\"document.title='owned'\">?"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("review")


@pytest.fixture(scope="module")
def app(home: Path) -> Iterator[RunningApp]:
    with running_app(home, "embedded") as app:
        yield app


@pytest.fixture(scope="module")
def tickets(home: Path) -> Path:
    """36 made-up tickets with three labels, the last 12 without an answer."""
    path = home / "tickets.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ticket", "team"])
        for number in range(36):
            label = sorted(_WORDS)[number % 3]
            writer.writerow([f"{number} {_WORDS[label]}", label if number < 24 else ""])
    return path


@pytest.fixture(scope="module")
def pipeline(home: Path) -> Pipeline:
    """Another process's look at the same projects, as a second app would have."""
    return Pipeline(Settings(paths=Paths(home=home / "home", cache=home / "cache"), engine="embedded"))


def project_of(pipeline: Pipeline) -> Project:
    return next(project for project in pipeline.store.projects() if project.data)


def changes(pipeline: Pipeline) -> list[tuple[str, int]]:
    return [(edit.action, edit.count) for edit in pipeline.source(project_of(pipeline)).edits]


def queue(page: Page, name: str) -> Locator:
    return page.locator(".tw-rv-queues").get_by_role("radio", name=name)


def text(page: Page) -> Locator:
    return page.locator(".tw-rv-now .tw-rv-text")


def open_data(page: Page, app: RunningApp) -> None:
    """The Data panel once what stands above the card is there: it pushes the card down as it comes."""
    visit(page, app)
    open_panel(page, "Data")
    expect(page.locator("#data-findings .tw-finding").first).to_be_visible()


def to_lower_edge(what: Locator) -> None:
    """Scroll until this ends where the window ends."""
    what.evaluate("it => scrollBy(0, it.getBoundingClientRect().bottom - innerHeight)")


def press(page: Page, key: str, left: str) -> None:
    """A key that decides; `left` is what the queue's button says once the app knows."""
    page.keyboard.press(key)
    expect(page.locator(".tw-rv-queues [aria-checked=true]")).to_have_text(re.compile(left))


def test_rows_are_answered_by_keyboard_and_one_is_taken_back(
    app: RunningApp, page: Page, tickets: Path, pipeline: Pipeline
) -> None:
    visit(page, app)
    open_panel(page, "Data")
    page.locator("#data-file input[type=file]").set_input_files(tickets)
    expect(queue(page, "No answer yet")).to_have_text("No answer yet 12")
    page.locator(".tw-rv-now .tw-rv-card").click()
    expect(page.locator(".tw-rv-now .tw-rv-guess b")).to_be_visible()
    press(page, "Enter", "No answer yet 11")
    second = text(page).inner_text()
    press(page, "2", "No answer yet 10")
    third = text(page).inner_text()
    page.keyboard.press("t")
    page.keyboard.type("somewhere new")
    press(page, "Enter", "No answer yet 9")
    assert changes(pipeline) == [("answer", 3)]
    answered = {row.input: row.output for row in pipeline.examples(project_of(pipeline))}
    assert answered[second] == "delivery" and answered[third] == "somewhere new"
    press(page, "u", "No answer yet 10")
    expect(text(page)).to_have_text(third)
    assert changes(pipeline) == [("answer", 2)]
    press(page, "d", "No answer yet 9")
    assert changes(pipeline) == [("answer", 2), ("drop_rows", 1)]


def test_written_rows_are_approved_edited_and_rejected(app: RunningApp, page: Page, pipeline: Pipeline) -> None:
    id = project_of(pipeline).id
    rows = [Demonstration(input=EVIL, output="billing")]
    rows += [Demonstration(input=f"A new ticket, number {n}", output="delivery") for n in range(5)]
    pipeline.keep_pending(id, rows)
    open_data(page, app)
    expect(queue(page, "Written by a model")).to_be_visible()
    to_lower_edge(page.locator(".tw-rv-queues"))
    queue(page, "Written by a model").click()
    expect(text(page)).to_have_text(EVIL)
    expect(page.locator(".tw-rv-now .tw-badge")).to_have_text("synthetic")
    press(page, "Enter", "Written by a model 5")
    page.keyboard.press("e")
    box = page.locator(".tw-rv-now textarea[name=input]")
    expect(box).to_have_value("A new ticket, number 0")
    box.fill("An edited ticket")
    press(page, "Control+Enter", "Written by a model 4")
    press(page, "r", "Written by a model 3")
    page.get_by_role("button", name="Reject all 3").click()
    expect(queue(page, "Written by a model")).to_have_text("Written by a model 0")
    assert project_of(pipeline).pending is None
    page.keyboard.press("u")
    expect(queue(page, "Written by a model")).to_have_text("Written by a model 3")
    page.get_by_role("button", name="Approve all 3").click()
    expect(queue(page, "Written by a model")).to_have_text("Written by a model 0")
    written = [row for row in pipeline.examples(project_of(pipeline)) if row.origin == "written"]
    assert [row.input for row in written] == [
        EVIL, "An edited ticket", "A new ticket, number 2", "A new ticket, number 3", "A new ticket, number 4"
    ]  # fmt: skip
    assert changes(pipeline) == [("answer", 2), ("drop_rows", 1), ("add_rows", 5)]
    assert page.title() == "Tunewright"


def test_keys_are_left_alone_where_somebody_types_or_looks_elsewhere(
    app: RunningApp, page: Page, pipeline: Pipeline
) -> None:
    open_data(page, app)
    expect(page.locator(".tw-rv")).to_be_visible()
    before = changes(pipeline)
    page.locator("#chat-box textarea").click()
    page.keyboard.type("dus1")
    expect(page.locator("#chat-box textarea")).to_have_value("dus1")
    page.locator(".tw-rv-now input[name=text]").fill("kept while the clock ticks")
    page.wait_for_timeout(5000)
    expect(page.locator(".tw-rv-now input[name=text]")).to_have_value("kept while the clock ticks")
    open_panel(page, "Task")
    for key in ("d", "Enter", "1"):
        page.keyboard.press(key)
    page.wait_for_timeout(1000)
    assert changes(pipeline) == before
