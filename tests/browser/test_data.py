"""Data in the browser: uploaded dirty, its mapping corrected, a fix applied and undone, and the other ways in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import open_panel, say, visit
from tests.trainers.checked import made_up_tickets
from trainers.paths import default_paths


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """On the person's own cache: there the embedded model is converted already."""
    home, cache = tmp_path_factory.mktemp("data"), str(default_paths().cache)
    with running_app(home, "embedded", TUNEWRIGHT_CACHE=cache) as app:
        yield app


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """Tickets with a long note beside each, a repeated row, a mail address, a row without an answer, a ragged one."""
    lines = [f'"{text}",{team},"noted by the night shift on the way to row {n} of many"'
             for n, (text, team) in enumerate(made_up_tickets(120))]  # fmt: skip
    more = [lines[0], '"write to ann@example.org please",billing,"x"', '"nobody has answered this",,"x"', "a,b,c,d,e"]
    path = tmp_path / "tickets.csv"
    path.write_text("\n".join(["ticket,team,note", *lines, *more]) + "\n", "utf-8")
    return path


def new_project(page: Page, app: RunningApp) -> None:
    """An empty project; where the one before has data, its going away shows that the new one is there."""
    visit(page, app)
    open_panel(page, "Data")
    summary = page.locator("#data-summary")
    expect(summary).to_contain_text(re.compile("No data yet|examples"))
    if "No data yet" not in (summary.text_content() or ""):
        page.get_by_role("button", name="+ New").click()
    expect(summary).to_contain_text("No data yet")
    open_panel(page, "Data")


def upload(page: Page, *paths: Path) -> None:
    page.locator("#data-file input[type=file]").set_input_files(paths)


def finding(page: Page, check: str) -> Locator:
    return page.locator(f"#data-findings [data-check={check}]")


def choose(page: Page, column: str, option: str) -> None:
    page.locator(f"#column-{column} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_mapping_is_corrected_and_a_fix_applied_and_undone(app: RunningApp, page: Page, dirty: Path) -> None:
    new_project(page, app)
    upload(page, dirty)
    tile = page.locator("#data-summary .tw-tile").first
    expect(tile).to_contain_text("122")
    expect(page.locator("#column-input input")).to_have_value("ticket")
    seen = page.locator("#data-seen .tw-seen")
    expect(seen).to_have_count(3)
    expect(seen.first).to_contain_text(re.compile("delivery|billing|returns|technical"))

    choose(page, "input", "note")
    expect(seen.first).to_contain_text("noted by the night shift")
    expect(page.locator("#chat")).to_contain_text("note goes in, team is the answer")
    choose(page, "input", "ticket")
    expect(seen.first).not_to_contain_text("night shift")

    choose(page, "shape", "Conversations (OpenAI)")
    expect(page.locator(".toast-body").first).to_contain_text("no row with both")
    expect(page.locator("#column-shape input")).to_have_value("Two columns")

    expect(finding(page, "set_aside")).to_contain_text("5 fields, but the header has 3")
    expect(finding(page, "duplicates")).to_contain_text("1 row")
    finding(page, "duplicates").get_by_role("button", name="Drop 1 row").click()
    change = page.locator("#data-findings .tw-change")
    expect(change).to_contain_text("drop the later copies")
    expect(tile).to_contain_text("121")
    expect(finding(page, "duplicates")).to_have_count(0)
    finding(page, "personal_data").get_by_role("button", name="Mask 1 row").click()
    expect(change).to_have_count(2)
    expect(finding(page, "personal_data")).to_have_count(0)

    change.last.get_by_role("button", name="Undo").click()
    expect(change).to_have_count(1)
    expect(tile).to_contain_text("122")
    expect(finding(page, "duplicates")).to_have_count(1)
    expect(finding(page, "personal_data")).to_have_count(0)
    say(page, "go back")
    expect(change).to_have_count(2)
    page.reload()
    open_panel(page, "Data")
    expect(page.locator("#data-findings .tw-change")).to_have_count(2)


def test_what_could_not_be_read_can_be_downloaded(app: RunningApp, page: Page, dirty: Path) -> None:
    new_project(page, app)
    upload(page, dirty)
    with page.expect_download() as download:
        page.get_by_text("Download what could not be read").click()
    assert "a,b,c,d,e" in Path(download.value.path()).read_text("utf-8")


def test_a_pasted_table_and_files_that_name_their_test(app: RunningApp, page: Page, tmp_path: Path) -> None:
    new_project(page, app)
    rows = [f"{text}\t{team}" for text, team in made_up_tickets(60)]
    page.locator("#data-text textarea").fill("\n".join(["what was said\twho answers", *rows]))
    page.locator("#data-take").click()
    expect(page.locator("#data-summary .tw-tile").first).to_contain_text("60")
    expect(page.locator("#chat")).to_contain_text("pasted table")
    for name, seed in (("train", 1), ("test", 2)):
        lines = [f'"{text}, {name}",{team}' for text, team in made_up_tickets(80, seed)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n", "utf-8")
    upload(page, tmp_path / "train.csv", tmp_path / "test.csv")
    expect(page.locator("#data-summary .tw-divided")).to_contain_text("80 sealed for the report")
    expect(page.locator("#column-split input")).to_have_value("Named in 'split'")


def test_what_cannot_be_taken_is_told_and_nothing_is_lost(app: RunningApp, page: Page, dirty: Path) -> None:
    new_project(page, app)
    upload(page, dirty)
    expect(page.locator("#data-summary .tw-tile").first).to_contain_text("122")
    page.locator("#data-text textarea").fill("somebody/a-data-set")
    page.locator("#data-take").click()
    expect(page.locator(".toast-body")).to_contain_text("hub cannot be reached")
    expect(page.locator("#data-text textarea")).to_have_value("somebody/a-data-set")
    expect(page.locator("#data-summary .tw-tile").first).to_contain_text("122")
