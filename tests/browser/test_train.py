"""Trainings in a browser: choose a way, queue, stop and keep, resume after a kill, and the table of runs."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import open_panel, say, visit
from tests.trainers.checked import write_made_up_tickets

_LONG = 240_000


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    with running_app(tmp_path_factory.mktemp("train"), "embedded") as app:
        yield app


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    return write_made_up_tickets(tmp_path / "tickets.csv", 400)


def row(page: Page, text: str | re.Pattern[str]) -> Locator:
    return page.locator("#runs tr[data-run]", has_text=text)


def test_choose_queue_keep_resume_compare_name_and_delete(
    app: RunningApp, page: Page, tickets: Path, tiny_model: Path
) -> None:
    page.on("dialog", lambda dialog: dialog.accept("the first one" if dialog.type == "prompt" else ""))
    visit(page, app)
    say(page, "Route support tickets to a team")
    open_panel(page, "Data")
    page.locator("#data-file input[type=file]").set_input_files(tickets)
    expect(page.locator("#chat")).to_contain_text("From the Data panel")
    say(page, f"Use the base model {tiny_model}")

    # A way by its button, another by a sentence; what cannot work here says why, and the plan stays.
    open_panel(page, "Strategy")
    page.locator("#ways button").first.click()
    page.locator("[data-way=prompt_tuning] button").click()
    expect(page.locator("#chosen-plan")).to_contain_text("Your own plan: Prompt tuning, 16 tokens")
    page.locator("[data-way=qlora] button").click()
    expect(page.locator(".toast-body")).to_contain_text("needs an NVIDIA GPU")
    # So slow that it neither ends nor stops early by itself.
    say(page, "use LoRA with rank 4, learning rate 1e-6, 100 epochs")
    expect(page.locator("#chosen-plan")).to_contain_text("LoRA, rank 4, supervised (SFT), 100 epochs at 1e-06")
    expect(page.locator("[data-way=lora]")).to_contain_text("Chosen")

    # Two runs: the second one waits.
    open_panel(page, "Train")
    page.locator("#start-training").click()
    expect(page.locator("#start-training")).to_have_text("Queue another")
    page.locator("#start-training").click()
    expect(page.locator("#runs tr[data-run]")).to_have_count(2)
    expect(row(page, re.compile("training"))).to_be_visible(timeout=_LONG)
    expect(row(page, "queued")).to_be_visible()
    expect(page.locator("#chat")).to_contain_text("is queued; it begins when the one before it has ended")

    # The first is stopped and kept, the second is killed as if the power had gone, and goes on.
    page.locator("#stop-training").click()
    expect(page.locator("#chat")).to_contain_text("Training is finished", timeout=_LONG)
    open_panel(page, "Train")
    expect(row(page, re.compile("training"))).to_be_visible(timeout=_LONG)
    second = app.home / "runs" / str(row(page, re.compile("training")).get_attribute("data-run"))
    os.kill(json.loads((second / "worker.json").read_text())["pid"], signal.SIGKILL)
    expect(page.locator("#train-progress")).to_contain_text("killed", timeout=_LONG)
    page.locator("#resume-training").click()
    expect(page.locator("#train-progress")).to_contain_text(re.compile("Preparing|Training"), timeout=_LONG)
    page.locator("#stop-training").click()
    expect(page.locator("#chat .bot.message", has_text="is finished")).to_have_count(2, timeout=_LONG)

    # The table.
    open_panel(page, "Train")
    expect(page.locator("#runs .tw-good")).to_have_count(2)
    page.locator("#runs button[data-key^=rename]").last.click()
    expect(row(page, "the first one")).to_be_visible()
    for number in range(2):
        page.locator("#runs button[data-key^=compare]").nth(number).click()
    expect(page.locator("#run-differences")).to_contain_text("same plan")
    page.locator("#runs button[data-key^=delete]").last.click()
    expect(page.locator("#runs tr[data-run]")).to_have_count(1)
    expect(row(page, "the first one")).to_have_count(0)


def test_an_adapter_for_another_model_is_refused(app: RunningApp, page: Page, tmp_path: Path) -> None:
    visit(page, app)
    open_panel(page, "Train")
    page.locator("#import-adapter button").first.click()
    page.locator("#import-path textarea, #import-path input").first.fill(str(tmp_path))
    page.locator("#import-take").click()
    expect(page.locator(".toast-body")).to_contain_text("holds no readable adapter")
