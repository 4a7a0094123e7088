"""The whole journey in a browser, on a tiny model, as a person would go: and then once more through vLLM.

The tests of this file share one home folder and build on each other in file order: a restart of the app between them
is part of what is tested.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import random
import re
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import RunningApp, running_app

pytestmark = pytest.mark.alone  # at the end vLLM serves
_WORDS = {
    "billing": "invoice charge refund card payment",
    "delivery": "parcel courier late tracking address",
    "technical": "crash error screen update pairing",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journey")


@pytest.fixture(scope="module")
def tickets(home: Path) -> Path:
    """120 made-up tickets with three labels."""
    rng = random.Random(0)
    path = home / "tickets.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ticket", "team"])
        for number in range(120):
            label = sorted(_WORDS)[number % 3]
            writer.writerow([f"{number} {' '.join(rng.choices(_WORDS[label].split(), k=3))}", label])
    return path


@pytest.fixture(scope="module")
def app(home: Path) -> Iterator[RunningApp]:
    with running_app(home, "embedded") as app:
        yield app


def visit(page: Page, app: RunningApp) -> None:
    """Open the app and wait until the project is drawn."""
    page.goto(app.url)
    expect(page.locator("#chat")).to_contain_text("What should the model do?")


def say(page: Page, text: str) -> None:
    """Write in the chat and wait for the answer that follows; what is told of work in the background may come too."""
    before = page.locator("#chat .bot.message").count()
    page.locator("#chat-box textarea").fill(text)
    page.locator("#chat-box textarea").press("Enter")
    expect(page.locator("#chat .bot.message").nth(before)).not_to_have_text("…")


def fact(page: Page, name: str) -> Locator:
    """The card of one fact in the Task panel."""
    return page.locator(".tw-fact", has=page.locator(".tw-name", has_text=re.compile(f"^{name}$")))


def open_panel(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def selected(page: Page) -> str:
    """The stage that is open; tabs within a stage come after it."""
    return page.locator("#tw-stepper button[role=tab][aria-selected=true]").first.inner_text()


def test_the_first_message_becomes_a_task(app: RunningApp, page: Page, tiny_model: Path) -> None:
    visit(page, app)
    say(page, "Route support tickets to a team. Labels: billing, delivery, technical")
    expect(page.locator("#chat")).to_contain_text("classification")
    expect(page.locator("#tw-stepper")).to_contain_text("✓ Task")
    open_panel(page, "Task")
    expect(fact(page, "labels")).to_contain_text("billing, delivery, technical")
    expect(fact(page, "labels")).to_contain_text("you said")
    # What is edited in the panel is known to the chat.
    page.get_by_text("Change it").click()
    page.locator("#base-model input").fill(str(tiny_model))
    page.locator("#base-model input").press("Enter")
    page.get_by_role("textbox", name="What goes in", exact=True).fill("support ticket")
    page.get_by_role("button", name="Save the task").click()
    expect(page.locator("#chat")).to_contain_text("From the Task panel.")
    expect(page.locator("#chat")).to_contain_text(str(tiny_model))


def test_a_bad_file_is_refused_and_nothing_is_lost(app: RunningApp, page: Page, home: Path) -> None:
    bad = home / "bad.csv"
    bad.write_text("ticket,team\nno comma in a quote, here, billing\n")
    visit(page, app)
    expect(page.locator("#chat")).to_contain_text("From the Task panel.")
    page.locator("#chat-box input[type=file]").set_input_files(bad)
    page.locator("#chat-box textarea").fill("here is my data")
    page.locator("#chat-box .thumbnail-item").wait_for()
    page.locator("#chat-box textarea").press("Enter")
    expect(page.locator("#chat")).to_contain_text("row 1")
    expect(page.locator("#chat")).to_contain_text("3 fields")
    open_panel(page, "Task")
    expect(fact(page, "labels")).to_contain_text("billing, delivery, technical")


def test_data_shows_what_is_in_it_and_a_first_prompt(app: RunningApp, page: Page, tickets: Path) -> None:
    visit(page, app)
    open_panel(page, "Data")
    page.locator("#data-file input[type=file]").set_input_files(tickets)
    expect(page.locator("#chat")).to_contain_text("From the Data panel")
    expect(page.locator(".tw-tile", has_text="examples")).to_contain_text("120")
    open_panel(page, "Prompt")
    expect(page.locator("#system-prompt textarea")).to_have_value(re.compile("billing, delivery, technical"))
    page.get_by_text("Three rows, exactly as the model will see them").filter(visible=True).click()
    expect(page.locator(".tw-seen").filter(visible=True).first).to_contain_text("<|im_start|>assistant")


def test_a_prompt_is_edited_and_measured(app: RunningApp, page: Page) -> None:
    visit(page, app)
    open_panel(page, "Prompt")
    page.locator("#system-prompt textarea").fill("Name the team: billing, delivery, technical.")
    page.get_by_role("button", name="Save version").click()
    expect(page.locator("#chat")).to_contain_text("the prompt is now version")
    say(page, "measure it")
    expect(page.locator("#chat")).to_contain_text("on the dev rows", timeout=240_000)
    expect(page.locator("#tw-stepper")).to_contain_text("✓ Prompt")
    expect(page.locator("#prompt-tree .tw-now .tw-node-score")).to_contain_text("%")


def test_advice_training_and_a_closed_page(app: RunningApp, page: Page) -> None:
    visit(page, app)
    say(page, "What do you advise?")
    expect(page.locator(".tw-best")).to_contain_text("LoRA, rank 8, on tiny")
    assert "Strategy" in selected(page)
    say(page, "start training")
    expect(page.locator("#chat")).to_contain_text("Start will train")
    page.locator("#chat").get_by_role("button", name="Yes, start training").click()
    expect(page.locator("#chat")).to_contain_text("Training has begun as run")
    assert "Train" in selected(page)
    page.goto("about:blank")  # the person leaves; the training goes on
    visit(page, app)
    expect(page.locator("#chat")).to_contain_text("Training is finished.", timeout=240_000)
    expect(page.locator("#tw-stepper")).to_contain_text("✓ Train")
    open_panel(page, "Train")
    expect(page.locator(".tw-progress")).to_contain_text("Finished: 100%")
    open_panel(page, "Report")
    expect(page.locator(".rp-tiles > div", has_text="held-out rows")).to_contain_text("30")


def compare(page: Page, message: str, timeout: float) -> tuple[str, str]:
    """Ask both and return what the panes show in the end."""
    open_panel(page, "Compare")
    # The last round's answers go first, so that they cannot be taken for this one's.
    page.evaluate("document.querySelectorAll('.tw-pane').forEach(pane => pane.remove())")
    page.locator("#compare-message textarea").fill(message)
    page.locator("#compare-send").click()
    for pane in ("#pane-a", "#pane-b"):
        expect(page.locator(f"{pane} .tw-foot")).to_contain_text("tokens", timeout=timeout)
        expect(page.locator(f"{pane} .tw-cursor")).to_have_count(0, timeout=timeout)
    return page.locator("#pane-a").inner_text(), page.locator("#pane-b").inner_text()


def votes(home: Path) -> list[str]:
    with sqlite3.connect(home / "home" / "tunewright.sqlite3") as db:
        return [row[0] for row in db.execute("SELECT record FROM vote ORDER BY id")]


def answer(pane: str) -> str:
    """The answer between a pane's head and foot."""
    return "\n".join(pane.splitlines()[2:-1])


def name_themselves(base: str, tuned: str) -> None:
    """Each pane says whose answer it holds: by the name, the base and the weights that the server gave."""
    assert base.startswith("A Base\nanswered by tiny · prompt ")
    of = r"answered by \d{8}-\d{6}-lora-\w+, of tiny · weights \w{12} · prompt "
    assert re.match(rf"B Tuned\n{of}", tuned), tuned


def test_side_by_side_and_a_blind_vote(app: RunningApp, page: Page, home: Path) -> None:
    visit(page, app)
    base, tuned = compare(page, "parcel late courier", 120_000)
    name_themselves(base, tuned)
    assert answer(base) != answer(tuned)
    page.get_by_role("tab", name="Judge blind").click()
    page.get_by_text("Judge a message of your own").click()
    page.locator("#blind-message textarea").fill("invoice charge")
    page.locator("#blind-ask").click()
    card = page.locator("#blind-card")
    expect(card.locator(".tw-bl[data-phase=judge]")).to_be_visible(timeout=120_000)
    hidden = card.inner_text()
    assert not any(name in hidden for name in ("Base", "Tuned", "tiny", "lora"))
    card.get_by_role("button", name="Right is better").click()
    expect(card).to_contain_text("answered by tiny · prompt")  # revealed
    expect(page.locator("#tw-stepper")).to_contain_text("✓ Compare")
    assert "Compare" in selected(page), "a vote must not throw the person out of the panel"
    assert len(votes(home)) == 1 and '"blind":true' in votes(home)[0] and '"verdict":"right"' in votes(home)[0]
    assert "libtorch" not in app.maps()  # the whole journey, and the UI process never loaded it


def test_after_a_restart_everything_is_there_and_vllm_serves(
    app: RunningApp, page: Page, browser: object, home: Path
) -> None:
    if importlib.util.find_spec("vllm") is None:
        assert not os.environ.get("TUNEWRIGHT_REQUIRE_VLLM"), "vLLM is not installed"
        pytest.skip("vLLM is not installed")
    engines = psutil.Process(app.process.pid).children(recursive=True)
    app.process.send_signal(signal.SIGKILL)  # even so its engine must end
    app.process.wait(30)
    _, alive = psutil.wait_procs(engines, timeout=30)
    assert not alive, f"these outlived the app: {alive}"
    with running_app(home, "vllm") as again:
        visit(page, again)
        expect(page.locator("#chat")).to_contain_text("Training is finished.")
        base, tuned = compare(page, "parcel late courier", 600_000)
        expect(page.locator("#tw-status")).to_contain_text("vLLM 0.")
        name_themselves(base, tuned)
        assert answer(base) != answer(tuned)
        assert "libtorch" not in again.maps()
