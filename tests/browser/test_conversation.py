"""A conversation of five turns with a correction and a reload in the middle, in a browser, with the offline mind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import fact, open_panel, say, selected, visit
from trainers.paths import default_paths

KEY = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """On the person's own cache: there the embedded model is converted already."""
    home, cache = tmp_path_factory.mktemp("conversation"), str(default_paths().cache)
    with running_app(home, "embedded", TUNEWRIGHT_CACHE=cache) as app:
        yield app


def last(page: Page) -> Locator:
    """The assistant's last message."""
    return page.locator("#chat .bot.message").last


def test_five_turns_with_a_correction_and_a_reload(app: RunningApp, page: Page) -> None:
    visit(page, app)
    say(page, "Hi!")
    expect(last(page)).to_contain_text("Hello!")
    expect(last(page)).to_contain_text("What kind of task is it?")
    say(page, "Sort reviews into positive / negative / neutral")
    expect(page.locator("#chat")).to_contain_text("labels: positive, negative, neutral, you said")
    page.reload()
    expect(page.locator("#chat")).to_contain_text("labels: positive, negative, neutral, you said")
    say(page, "actually drop neutral, just two classes")
    expect(page.locator("#chat del")).to_have_text("positive, negative, neutral")
    open_panel(page, "Task")
    expect(fact(page, "labels")).to_contain_text("positive, negative")
    expect(fact(page, "labels")).not_to_contain_text("neutral")
    expect(fact(page, "labels")).to_contain_text("you said")
    expect(fact(page, "answer's shape")).to_contain_text("I assume")
    expect(fact(page, "base model")).to_contain_text("default")
    page.locator("#chat").get_by_role("button", name="Skip").click()
    expect(last(page)).to_contain_text("Skipped")
    say(page, "why not full tuning?")
    expect(last(page)).to_contain_text("Source")
    expect(last(page).locator("a[href^='https://']").first).to_be_visible()


def test_rows_pasted_into_the_chat_open_the_workshop(app: RunningApp, page: Page) -> None:
    visit(page, app)
    rows = [
        f"what a lovely day number {n} -> positive" if n % 2 else f"broken on day {n} -> negative" for n in range(20)
    ]
    say(page, "\n".join(rows))
    expect(page.locator("#chat")).to_contain_text("rows from the chat: 20 examples")
    assert "Prompt" in selected(page)
    say(page, "go back")
    open_panel(page, "Data")
    expect(page.locator("#tw-stepper")).not_to_contain_text("✓ Data")


def test_a_second_tab_continues_the_same_conversation(app: RunningApp, page: Page) -> None:
    visit(page, app)
    assert page.context.browser
    other = page.context.browser.new_page()
    visit(other, app)
    say(page, "keep it friendly, at most 60 words")
    expect(last(other)).to_contain_text("friendly")
    say(other, "undo")
    expect(last(page)).to_contain_text("took the last change back")
    other.close()


def test_a_pasted_key_is_never_shown_again(app: RunningApp, page: Page, tmp_path: Path) -> None:
    visit(page, app)
    say(page, f"my token is {KEY}, can you use it?")
    expect(page.locator("#chat")).to_contain_text("There was a key or password in your message")
    assert KEY not in page.locator("#chat").inner_text()
    expect(page.locator("#chat .user.message").last).to_contain_text("[key removed]")


def test_what_the_panel_edits_is_all_there(app: RunningApp, page: Page) -> None:
    visit(page, app)
    open_panel(page, "Task")
    page.get_by_text("Change it").click()
    page.get_by_label("Must never").fill("promise refunds\nmention prices")
    page.get_by_label("Good enough from").fill("0.9")
    page.get_by_label("Longest wait for an answer, ms").fill("800")
    page.get_by_label("Licence must allow").fill("commercial use")
    page.get_by_role("button", name="Save the task").click()
    expect(page.locator("#chat")).to_contain_text("From the Task panel.")
    expect(fact(page, "must never")).to_contain_text("promise refunds, mention prices")
    expect(fact(page, "good enough from")).to_contain_text("90%")
    expect(fact(page, "longest wait")).to_contain_text("800 ms")
    expect(fact(page, "licence")).to_contain_text("commercial use")


def test_a_panels_edit_is_taken_back_from_the_chat(app: RunningApp, page: Page) -> None:
    visit(page, app)
    open_panel(page, "Task")
    expect(fact(page, "licence")).to_contain_text("commercial use")
    say(page, "go back")
    expect(last(page)).to_contain_text("took the last change back")
    expect(fact(page, "licence")).to_have_count(0)
